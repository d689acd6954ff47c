"""The entry point of ``python -m courier``."""

import sys

from courier.cli import main

if __name__ == "__main__":
    sys.exit(main())
