from __future__ import annotations

import subprocess
from pathlib import Path

from tests.unit.deploy.files import ROOT


def test_what_make_installs_is_compiled_after_it() -> None:
    command = ["make", "--dry-run", "--always-make", ".venv/courier.stamp"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.index("--editable .") < shown.index("-m compileall -q courier")


def test_a_tool_that_is_missing_is_named_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("/bin/true")
    command = ["make", "--silent", "tools", f"TOOL_PATH={tmp_path}", "TOOLS=here=coreutils gone=no-such-package"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0
    (line,) = made.stderr.splitlines()
    assert "no-such-package is missing" in line
