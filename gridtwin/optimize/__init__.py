"""What to do: the flexibility schedule and its certificate; Pyomo and HiGHS live here only."""
