"""Sizes that follow from what a network takes, wherever they are needed: in counting and in building."""

from __future__ import annotations

from softreg_core.spec.inputs import InputShape, SoundShape

__all__ = ["MOST_TOKENS", "embedding_width", "flat_width", "frames", "step_count", "step_width"]

MOST_TOKENS = 8192
"""Of a row that a transformer takes: its attention holds a number for every pair of them."""

_WIDEST_EMBEDDING = 64


def embedding_width(levels: int) -> int:
    """How many numbers stand for one of `levels` categories or tokens in a fully connected network."""
    return min(_WIDEST_EMBEDDING, (levels + 1) // 2)


def flat_width(shape: InputShape) -> int:
    """How many numbers a fully connected network takes of one row; steps of a row are averaged."""
    match shape.kind:
        case "table":
            return shape.numbers + sum(map(embedding_width, shape.levels))
        case "image":
            return shape.channels * shape.height * shape.width
        case "text":
            return embedding_width(shape.vocabulary)
        case _:
            return step_width(shape, 0)


def step_width(shape: InputShape, embedding: int) -> int:
    """How many numbers a step has: of a text `embedding`."""
    match shape.kind:
        case "sequence":
            return shape.channels
        case "sound":
            return shape.mels
        case _:
            return embedding


def step_count(shape: InputShape) -> int:
    """Steps of the longest row: steps, tokens, frames, or columns and one more."""
    match shape.kind:
        case "table":
            return shape.numbers + len(shape.levels) + 1
        case "sequence" | "text":
            return shape.longest
        case "sound":
            return frames(shape, shape.longest)
        case _:
            return 1


def frames(shape: SoundShape, samples: int) -> int:
    """Windows that begin within so many samples."""
    return -(-samples // shape.hop)
