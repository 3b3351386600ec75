"""For every kind of data, the front of every kind of body."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from softreg_core.nets.fronts.flat import Flat, MaskedMean
from softreg_core.nets.fronts.image import Pixels
from softreg_core.nets.fronts.sound import LogMel, LogMelMap
from softreg_core.nets.fronts.steps import Tokens, Values
from softreg_core.nets.fronts.table import EmbeddedRows
from softreg_core.nets.initialization import embedding
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.widths import embedding_width

__all__ = ["flat_front", "map_front", "step_front"]


def flat_front(shape: InputShape, generator: torch.Generator) -> OrderedDict[str, nn.Module]:
    """By name the modules that, one after the other, give (B, F), F as `flat_width` says; none for numbers alone."""
    match shape.kind:
        case "table":
            if not shape.levels:
                return OrderedDict()
            tables = [embedding(levels, embedding_width(levels), generator) for levels in shape.levels]
            return OrderedDict(front=EmbeddedRows(tables, has_numbers=shape.numbers > 0))
        case "image":
            return OrderedDict(front=Pixels(shape.channels), flat=Flat())
        case _:
            width = embedding_width(shape.vocabulary) if shape.kind == "text" else 0
            return OrderedDict(front=step_front(shape, width, generator), mean=MaskedMean())


def step_front(shape: InputShape, width: int, generator: torch.Generator) -> nn.Module:
    """Called with a batch's tensors, gives values (B, T, D) and a mask bool (B, T), true within a row.

    Args:
        shape: of a sequence, text or sound.
        width: D of a text; the others have their own.
        generator: of initial weights.
    """
    match shape.kind:
        case "text":
            return Tokens(embedding(shape.vocabulary, width, generator))
        case "sequence":
            return Values(shape.channels)
        case "sound":
            return LogMel(shape)
        case _:
            raise ValueError(f"inputs of kind {shape.kind} have no steps")


def map_front(shape: InputShape, halvings: int) -> nn.Module:
    """Called with a batch's tensors, gives a map (B, C, H, W) and a mask (B, 1, H, 1) of ones and zeros, or None.

    Args:
        shape: of an image or a sound.
        halvings: how often the network halves the map.
    """
    match shape.kind:
        case "image":
            return Pixels(shape.channels)
        case "sound":
            return LogMelMap(shape, halvings)
        case _:
            raise ValueError(f"inputs of kind {shape.kind} are no map")
