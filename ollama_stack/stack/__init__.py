"""What is declared, said once."""
