"""What is on a host."""
