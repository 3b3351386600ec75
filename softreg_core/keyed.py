"""Randomness as a function: the same seed and words give the same numbers in every process and after every resume.

Nothing here has a state that could be lost with a killed process. Needs NumPy, not torch.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["draws", "key_of", "permutation", "seed_of", "stream_of"]


def key_of(seed: int, *words: str | int) -> bytes:
    """32 bytes that depend on the seed and on what the numbers are for."""
    return hashlib.sha256("/".join(str(part) for part in (seed, *words)).encode()).digest()


def permutation(rows: int, seed: int, *words: str | int) -> npt.NDArray[np.int64]:
    """A permutation of `range(rows)`.

    Raw 64-bit draws and a stable sort, because NumPy promises the stream of a bit generator across versions
    and does not promise `Generator.permutation`.
    """
    drawn = draws(0, rows, seed, *words)
    # Several times as fast for many rows, and the same where no two draws are equal, which is as good as always.
    order = np.argsort(drawn)
    sorted_N = drawn[order]
    if (sorted_N[1:] == sorted_N[:-1]).any():
        order = np.argsort(drawn, kind="stable")
    return order.astype(np.int64, copy=False)


def draws(start: int, count: int, seed: int, *words: str | int) -> npt.NDArray[np.uint64]:
    """Numbers `start` to `start + count - 1` of one stream of 64 random bits each."""
    stream = stream_of(seed, *words)
    # A step of its counter gives four numbers.
    stream.advance(start // 4)
    before = start % 4
    drawn: npt.NDArray[np.uint64] = stream.random_raw(before + count)[before:]
    return drawn


def stream_of(seed: int, *words: str | int) -> np.random.Philox:
    """That stream at its beginning, for who needs NumPy's distributions or draws of other widths."""
    return np.random.Philox(key=np.frombuffer(key_of(seed, *words)[:16], dtype="<u8"))


def seed_of(seed: int, *words: str | int) -> int:
    """A signed 64-bit number that depends on the seed and on what it is for: a seed for torch's generators."""
    return int.from_bytes(key_of(seed, *words)[:8], "little", signed=True)
