"""Ids: a prefix that names the kind of thing, then 26 characters that sort by time of making."""

from __future__ import annotations

import secrets
import time

__all__ = ["new_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(prefix: str) -> str:
    """`job_` + 48 bits of milliseconds + 80 random bits, in lower-case base 32 (a ULID).

    Ids made by one process in one millisecond sort at random; nothing may depend on more.
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
