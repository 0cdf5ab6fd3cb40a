"""``python -m ollama_stack.cli``."""

from ollama_stack.cli import main

main()
