"""The steps of deploy.py's story."""
