"""ollama-stack init."""
