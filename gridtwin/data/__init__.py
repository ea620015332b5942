"""Files to checked profiles on the time axis, and the rules of the network."""
