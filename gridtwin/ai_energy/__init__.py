"""Energy of computing: counters, ledger and statement."""
