"""What can move: one device per file, its model as a Pyomo template beside its facts."""
