"""The link process of an ssh agent: it holds the connections and moves all bytes.

Rule 1: only ids and numbers pass between daemon and link; task files, inputs, values, results,
output files and checkpoints go from disk to channel and back here.
Rule 2: what a host says is not believed: every name, length and digest is checked.
Rule 3: each host has threads of its own; one that is slow or silent holds up nobody else.
"""
