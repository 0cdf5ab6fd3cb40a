"""Hosts that serve together: a Docker Swarm with one stack, and how it comes about."""
