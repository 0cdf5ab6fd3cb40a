"""This machine, from the lab's mirror (`make lab`). Run as root."""

medium = ["@local"]
