"""What may be declared, and what is refused of it."""
