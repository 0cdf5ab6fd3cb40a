"""The front door where no second Python can be started."""

from __future__ import annotations

import sys

from ollama_stack.cli import main

if __name__ == "__main__":
    sys.executable = "/bin/false"
    main()
