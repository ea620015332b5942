"""What happens: power flow, congestion, connections, balancing."""
