"""The one that shows: the command line and its tables."""
