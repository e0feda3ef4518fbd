"""The link process of an agent of kind `condor`: the only home of HTCondor's Python package."""
