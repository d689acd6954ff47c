"""The MD5 digest that SQS returns for message attributes.

The attributes are sorted by name. For each, name, data type and value are hashed, each preceded by its length, and the
value also by its kind (1 text, 2 bytes). See "Calculating the MD5 message digest for message attributes" in the
Developer Guide of Amazon SQS.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any


def digest_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the hexadecimal digest of attributes in their JSON form (binary values in base64)."""
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
