"""Entry point of ``python -m todo``; same as the command ``todo``."""

import sys

from todo.cli import main

if __name__ == "__main__":
    sys.exit(main())
