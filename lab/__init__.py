"""The whole product for real on one machine, from PyPI and Debian packages alone."""
