"""What a run computes."""
