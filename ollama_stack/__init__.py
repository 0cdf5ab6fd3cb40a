"""Ollama servers that keep serving a class: settings, facts, operations and tasks of deploy.py."""
