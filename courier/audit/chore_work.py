"""The child's side of a chore; see :mod:`courier.audit.chore_child`.

It imports little, and the modules of the children should too: each segment has a child, so imports cost at each.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_LOWEST_PRIORITY = 19


class ChoreError(Exception):
    """A reason for which the child can't do its work, as one line."""


def run_chore(work: Callable[[], str]) -> None:
    """Do the work of a child with the lowest priority, print the JSON that it returns, and end the process.

    An OSError or a ChoreError of the work is a failure that the parent logs; any other exception is a bug.
    """
    # The filter of the unit forbids it. Then the child works with the auditor's.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        result = work()
    except OSError as error:
        _fail(error.strerror or str(error) or type(error).__name__)
    except ChoreError as error:
        _fail(str(error))
    except BaseException as error:
        _fail(f"a bug in Courier, please report it: {error!r}")
    else:
        # Nothing is written to the directory from here on, so that the process can end without clean-up.
        _write_line(1, result)
        os._exit(0)


def _fail(reason: str) -> None:
    _write_line(2, " ".join(reason.split()))
    os._exit(1)


def _write_line(fd: int, text: str) -> None:
    # Nobody may read it any more.
    with suppress(OSError):
        os.write(fd, text.encode("utf-8", "backslashreplace") + b"\n")


def _end_with_the_parent() -> None:
    try:
        while os.read(0, 1):
            pass
    finally:
        os._exit(1)
