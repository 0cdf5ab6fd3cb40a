"""Make it so: read the fact, do nothing if it is so, else yield the commands."""
