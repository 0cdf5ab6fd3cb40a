"""Ollama servers that keep serving a class: settings, facts, operations and tasks of deploy.py."""

__version__ = "0.1.0"
