"""The entry point of ``courier`` and ``python -m courier``."""

import sys

from courier.platforms import ELSEWHERE


def main() -> int:
    """Run the program with the arguments of the process, and return its exit code. On Windows, say what to do."""
    if sys.platform == "win32":
        # Nothing more can be imported there: modules of Unix are missing.
        print(f"courier: error: Courier doesn't run on Windows; {ELSEWHERE}", file=sys.stderr)
        return 3
    from courier.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
