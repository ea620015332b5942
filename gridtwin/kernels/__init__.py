"""Power flow and balancing on plain arrays; numba lives here only."""
