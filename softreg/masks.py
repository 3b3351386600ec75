"""URLs as they may be written down and shown: without their passwords."""

from __future__ import annotations

import re

__all__ = ["is_masked", "masked"]

_MASK = "***"


def masked(url: str) -> str:
    """The URL with its password hidden, whether it stands before the host or in the query."""
    return re.sub(r"(://[^:@/]*:)[^@]*(?=@)|([?&]password=)[^&]*", rf"\1\2{_MASK}", url)


def is_masked(url: str) -> bool:
    """Whether a password of this URL is hidden, so that nothing can be reached with it."""
    return _MASK in url
