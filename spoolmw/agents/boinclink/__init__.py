"""A small BOINC server in a process of its own: what an agent of kind "boinc" starts (agents/boinc.py)."""
