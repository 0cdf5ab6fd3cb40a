"""This machine, from the upstream registries. Run as root."""

medium = [("@local", {"_sudo": False})]
