from __future__ import annotations

import subprocess

from tests.unit.deploy.files import ROOT


def test_what_make_installs_is_compiled_after_it() -> None:
    command = ["make", "--dry-run", "--always-make", ".venv/courier.stamp"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.index("--editable .") < shown.index("-m compileall -q courier")
