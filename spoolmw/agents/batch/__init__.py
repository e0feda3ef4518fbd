"""What batch systems have in common: a job's folder, what travels with it, and what it brings back.

Nothing here knows HTCondor, Slurm or any other: how a job is submitted, listed and removed is
each agent's own. Everything works on folders of this machine's disk. The far side is
`spoolmw.runner.solo`; the folder's format stands in docs/batch-jobs.md.
"""
