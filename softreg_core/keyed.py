"""Randomness as a function: the same seed and words give the same numbers in every process and after every resume.

Nothing here has a state that could be lost with a killed process. Needs NumPy, not torch.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["key_of", "permutation"]


def key_of(seed: int, *words: str | int) -> bytes:
    """32 bytes that depend on the seed and on what the numbers are for."""
    return hashlib.sha256("/".join(str(part) for part in (seed, *words)).encode()).digest()


def permutation(rows: int, seed: int, *words: str | int) -> npt.NDArray[np.int64]:
    """A permutation of `range(rows)`.

    Raw 64-bit draws and a stable sort, because NumPy promises the stream of a bit generator across versions
    and does not promise `Generator.permutation`.
    """
    key = np.frombuffer(key_of(seed, *words)[:16], dtype="<u8")
    draws = np.random.Philox(key=key).random_raw(rows)
    return np.argsort(draws, kind="stable").astype(np.int64, copy=False)
