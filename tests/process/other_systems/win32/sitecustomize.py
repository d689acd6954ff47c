"""Takes from Python the modules that it doesn't have on Windows."""

import sys

sys.platform = "win32"
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "uvloop"):
    sys.modules[name] = None  # type: ignore[assignment]
