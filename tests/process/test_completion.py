"""The completion scripts in shells on a terminal, as somebody types."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.process.pseudo_terminal import terminal

BECOME: Final = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
SHELLS: Final = {
    "bash": ("bash --norc --noprofile -i", "courier", "source {directory}/courier", " "),
    "zsh": ("zsh -f -i", "_courier", "fpath=({directory} $fpath); autoload -U compinit; compinit -D -u", "="),
}
"""How a shell starts, the name of its script, how that is loaded, and what a shell puts between option and value.

tests/unit/cli asks fish.
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_command_option_and_value(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    command, name, load, joint = SHELLS[shell]
    script = subprocess.run(
        [sys.executable, "-m", "courier", "completion", shell], stdout=subprocess.PIPE, check=True, timeout=60
    )
    (tmp_path / name).write_bytes(script.stdout)
    with terminal(["-c", BECOME, *command.split()], HOME=str(tmp_path), columns=200) as opened:
        opened.type(
            f"{load.format(directory=shlex.quote(str(tmp_path)))}; courier() {{ echo got $*; }}; echo begin''s\n"
        )
        opened.wait_for("begins")
        opened.type("courier aud\tver\t--publ\torders.pub --outp\tjs\t\n")
        opened.wait_for(f"got audit verify --public-key{joint}orders.pub --output{joint}json")
