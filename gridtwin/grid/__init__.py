"""Networks: files to twin to plain arrays; pandapower lives here only."""
