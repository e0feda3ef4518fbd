"""The link to pilots: a process for each section, with the port that they call.

Home of `cryptography`. The daemon talks to it as to any link; what is special to a batch system is
an engine (`engine.Engine`): how a pilot is submitted, listed and removed.
"""
