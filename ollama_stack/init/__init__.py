"""A first inventory: what is asked, what is written of it, and how it comes to the disk."""
