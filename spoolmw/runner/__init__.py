"""What travels to the host: standard library and cloudpickle only, clean for Python 3.9.

The package imports itself by sibling names only (`from . import wire`), because on a host it lives
in a zipapp under the name `spoolmw_runner`, beside whatever `spoolmw` the task's own interpreter has.
"""

PROTOCOL = 1  #: of the frames between an agent and its runner
