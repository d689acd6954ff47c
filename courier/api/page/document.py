"""The document of the live page, joined from its parts, with the headers that protect it.

The parts are plain files: page.html, style.css, and the scripts in the order of :data:`SCRIPTS`. Nothing is generated
or minified, so that what a browser shows as the source is what is here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

SCRIPTS: Final = ("dom", "charts", "banner", "lists", "acts", "view", "connection")
"""The scripts; each uses only what stands before it until the last one begins to run."""

_HERE: Final = Path(__file__).parent


class Document(NamedTuple):
    """The page, and the headers of the answer that has it."""

    body: bytes
    headers: Mapping[str, str]


def document() -> Document:
    """Return the page.

    Its content security policy admits this style and this script by their hashes, and requests to the API. Whatever a
    message or a recipient might smuggle into the page can't run, nor reach another host.
    """
    style = (_HERE / "style.css").read_text("utf-8")
    scripts = "\n".join((_HERE / "script" / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    # A scope of its own: names such as status and history are the browser's.
    script = f'"use strict";\n{{\n{scripts}}}\n'
    page = (_HERE / "page.html").read_text("utf-8")
    body = page.replace("{style}", style).replace("{script}", script)
    return Document(
        body.encode(),
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": (
                "default-src 'none'; connect-src 'self'; img-src data:; "
                f"style-src '{hash_of(style)}'; script-src '{hash_of(script)}'; "
                "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # After an upgrade nobody should see the page of the earlier version.
            "Cache-Control": "no-store",
        },
    )


def hash_of(text: str) -> str:
    """Return a style or a script as the content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
