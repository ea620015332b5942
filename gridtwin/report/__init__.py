"""Results as tables, run folder and page; the only place that writes results."""
