"""The link process of an agent of kind `boinc`: the project that stock BOINC clients attach to."""
