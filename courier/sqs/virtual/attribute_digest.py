"""The MD5 that SQS gives of message attributes.

The attributes are taken by name; of each, name, data type and value are hashed behind their lengths, and the value's
kind (1 text, 2 bytes) before it. See "Calculating the MD5 message digest for message attributes" in the Developer Guide
of Amazon SQS.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any


def digest_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash attributes as they stand in JSON (binary values in base64); hexadecimal."""
    parts = []
    for name in sorted(attributes):
        attribute = attributes[name]
        parts.append(_with_length(name.encode()))
        parts.append(_with_length(attribute["DataType"].encode()))
        if "BinaryValue" in attribute:
            parts.append(b"\x02" + _with_length(base64.b64decode(attribute["BinaryValue"])))
        else:
            parts.append(b"\x01" + _with_length(attribute["StringValue"].encode()))
    return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()


def _with_length(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
