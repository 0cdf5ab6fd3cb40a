"""What is declared, in one place."""
