"""The fastest open power flow engines, each driven through its own interface on the same networks."""
