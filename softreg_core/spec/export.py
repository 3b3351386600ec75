"""In which formats a model is delivered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

__all__ = ["DEFAULT_EXPORT", "FILE_NAMES", "ExportFormat", "ExportFormats"]

ExportFormat = Literal["safetensors", "onnx", "pt2"]
FILE_NAMES: dict[str, str] = {"safetensors": "model.safetensors", "onnx": "model.onnx", "pt2": "model.pt2"}
"""The file of each format, in the order in which they are written down."""
DEFAULT_EXPORT: tuple[ExportFormat, ...] = ("safetensors",)


def _each_once(formats: tuple[ExportFormat, ...]) -> tuple[ExportFormat, ...]:
    """In one order, whichever they came in, so that equal wishes are equal specs; safetensors is always there."""
    if len(set(formats)) != len(formats):
        raise PydanticCustomError("export", "each format once")
    wanted = {*formats, *DEFAULT_EXPORT}
    return tuple(name for name in ("safetensors", "onnx", "pt2") if name in wanted)


ExportFormats = Annotated[tuple[ExportFormat, ...], Field(max_length=3), AfterValidator(_each_once)]
