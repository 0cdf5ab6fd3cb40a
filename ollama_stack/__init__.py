"""Ollama servers that keep serving a class: settings, facts, operations and tasks of deploy.py."""

from pathlib import Path

__version__ = "0.2.0"
ROOT = Path(__file__).resolve().parents[1]
"""The project's folder, which is also pyinfra's."""
