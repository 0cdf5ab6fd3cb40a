"""All that the hosts of an inventory need, in one file."""
