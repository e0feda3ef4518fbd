"""The architecture of DESIGN is a test: imports go one way, each package has one home.

Rule 1: a layer imports only what `MAY_IMPORT` lists for it.
Rule 2: a third-party package is imported only at its home.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter

import pytest

from tests.layers.source import ROOT, Module, imports, modules, names, own_imports, third_party

#: The layers, each with those that it may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "runner": set(),  # it travels to hosts that have nothing else of us
    "format": {"errors", "model", "runner"},
    "rules": {"errors", "model"},
    "configpilots": {"format"},
    "configpool": {"format"},
    "configboinc": {"format", "configpilots"},
    "configagents": {"format", "configpilots", "configpool", "configboinc"},
    "config": {"errors", "format", "model", "configagents"},
    "spooldir": {"errors", "model", "format", "runner"},
    "store": {"errors", "model", "format", "spooldir"},
    "agents": {"errors", "model", "format", "spooldir", "runner", "config"},
    "client": {"errors", "model", "format", "spooldir", "runner"},
    "ctl": {
        *("errors", "model", "format", "spooldir", "config", "configboinc", "store", "client"),
        "agents",  # accounts and keys of clients, checks of sections: no daemon is needed
    },
    "daemon": {
        *("errors", "model", "format", "rules", "config"),
        *("spooldir", "store", "agents", "runner"),
    },
    "checkpoint": set(),  # in a worker it finds the runner's modules under another name
    "": set(),  # the package's face is lazy: it imports nothing before it is asked
}

#: Third-party packages and the layers at home with them.
HOMES: dict[str, set[str]] = {
    "watchdog": {"spooldir"},
    "sqlite_utils": {"store"},
    "cloudpickle": {"format", "runner"},
    "paramiko": {"agents"},
    "cryptography": {"agents"},
    "aiohttp": {"agents"},
    "htcondor2": {"agents"},
    "classad2": {"agents"},
    "click": {"ctl"},
    "rich": {"ctl", "client"},  # client: the progress bar of map()
}


#: Who has a database of its own that is no part of the journal (docs/adr/0030).
RECORDS = {"spoolmw.agents.boinclink.records"}

#: What makes calls and reads results, for callers; the daemon loads neither.
PICKLES = {"spoolmw.format.call", "spoolmw.format.byvalue"}


def by_name(module: Module) -> str:
    return module.name


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_imports_go_one_way(module: Module) -> None:
    allowed = MAY_IMPORT[module.layer] | {module.layer, ""}
    wrong = {name for name in own_imports(module) if (*name.split("."), "")[1] not in allowed}
    assert not wrong, f"{module.layer} may not import {sorted(wrong)}"


def test_every_layer_is_one_of_the_design() -> None:
    assert {module.layer for module in modules()} <= set(MAY_IMPORT)


def test_the_layers_themselves_have_no_circle() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


def test_modules_have_no_import_circle() -> None:
    graph = defaultdict(set)
    for module in modules():
        graph[module.name] |= own_imports(module) & names()
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


def test_agents_never_import_each_other() -> None:
    """Only the contract, the table of kinds and their own pieces are theirs to import."""
    kinds = {"local", "fake", "ssh", "condor", "boinc"}
    for module in modules():
        parts = module.name.split(".")
        if module.layer != "agents" or len(parts) < 3:
            continue
        others = {f"spoolmw.agents.{kind}" for kind in kinds - {parts[2]}}
        if parts[2] in kinds:
            assert not own_imports(module) & others, module.name


def test_ctl_knows_of_the_store_only_its_reports() -> None:
    for module in modules():
        if module.layer == "ctl":
            found = {name for name in own_imports(module) if name.startswith("spoolmw.store")}
            assert found <= {"spoolmw.store", "spoolmw.store.reports"}, module.name


def test_ctl_knows_of_agents_only_accounts_keys_and_which_sections_can_be_used() -> None:
    known = {f"spoolmw.agents.boinclink.{each}" for each in ("accounts", "brief", "signing")}
    for module in modules():
        if module.layer == "ctl":
            found = {name for name in own_imports(module) if name.startswith("spoolmw.agents")}
            more = {"spoolmw.agents", "spoolmw.agents.boinclink", "spoolmw.agents.registry"}
            assert found <= known | more, module.name


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_each_third_party_package_has_one_home(module: Module) -> None:
    for package in third_party(module):
        assert package in HOMES, f"{package} has no home yet: name one in HOMES"
        assert module.layer in HOMES[package], f"{package} is at home in {HOMES[package]}"


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_sqlite_is_opened_only_in_the_store_and_by_who_keeps_other_records(
    module: Module,
) -> None:
    if module.layer != "store" and module.name not in RECORDS:
        assert "import sqlite3" not in module.text
        assert "from sqlite3" not in module.text


@pytest.mark.parametrize("module", modules(), ids=by_name)
def test_the_daemon_and_what_it_decides_with_cannot_unpickle(module: Module) -> None:
    """Whoever unpickles is a worker or a caller: `runner` and `format.call`, nobody else."""
    if module.layer == "runner" or module.name in PICKLES:
        return
    tops = {name.split(".")[0] for name in imports(module)}
    assert not tops & {"pickle", "cloudpickle", "shelve", "dill"}
    assert "marshal.load" not in module.text


def test_the_daemon_does_not_load_what_pickles_calls() -> None:
    loaded = _loaded_by("import spoolmw.daemon.main")
    assert not loaded & (PICKLES | {"cloudpickle"})


def test_the_daemon_loads_no_numpy_and_hides_it_from_nobody() -> None:
    """sqlite-utils would, where it is installed: as it is here."""
    assert not _loaded_by("import spoolmw.daemon.main") & {"numpy", "pandas"}
    assert "numpy" in _loaded_by("import spoolmw.daemon.main, numpy")


def test_importing_spoolmw_loads_neither_watchdog_nor_sqlite() -> None:
    loaded = _loaded_by("import spoolmw")
    assert not loaded & {"watchdog", "sqlite3", "sqlite_utils", "cloudpickle", "click", "rich"}
    assert {name for name in loaded if name.startswith("spoolmw")} == {"spoolmw"}


def test_the_helper_loads_no_sqlite() -> None:
    loaded = _loaded_by("from spoolmw import Spool")
    assert not loaded & {"sqlite3", "sqlite_utils", "click"}


def _loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `statement`."""
    program = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
