"""How the feature columns are seen: as a table, an image, a sequence, a text or a sound. docs/data.md has examples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Int, Name, Number, SpecModel
from softreg_core.spec.inputs import LONGEST_WINDOW

__all__ = [
    "AugmentSpec",
    "ImageInput",
    "InputSpec",
    "SequenceInput",
    "SoundInput",
    "TableInput",
    "TextInput",
]

Side = Annotated[Int, Field(ge=1, le=1024)]
Length = Annotated[Int, Field(ge=1, le=1_000_000)]


def _one_or_three(value: int) -> int:
    if value not in (1, 3):
        raise PydanticCustomError("channels", "expected 1 (gray) or 3 (colours)")
    return value


Channels = Annotated[Int, AfterValidator(_one_or_three)]


class TableInput(SpecModel):
    """Columns of numbers and of categories."""

    kind: Literal["table"] = "table"
    categories: Annotated[tuple[Name, ...], Field(max_length=10_000)] = ()
    """Columns of whole numbers that are read as categories: postal codes, identifiers."""


class AugmentSpec(SpecModel):
    """What is changed at random in training images, each time they are seen; never in validation or prediction."""

    flip_horizontal: Flag = False
    """Left and right are exchanged, with probability 1/2."""
    flip_vertical: Flag = False
    """Top and bottom are exchanged, with probability 1/2."""
    crop_padding: Annotated[Int, Field(ge=0, le=128)] = 0
    """The image is shifted by up to so many pixels each way; what comes in at the border is 0 (black)."""


class ImageInput(SpecModel):
    """One column of images; or columns of numbers, one for each pixel, in the order channel, row, column."""

    kind: Literal["image"] = "image"
    channels: Literal["auto"] | Channels = "auto"
    """1: gray; 3: colours; `auto`: as the images have it."""
    height: Literal["auto"] | Side = "auto"
    """Images of another size are resized; `auto`: that of the images, of the lowest where they differ, at most 224."""
    width: Literal["auto"] | Side = "auto"
    """`auto`: that of the images, of the narrowest where they differ, at most 224."""
    augment: AugmentSpec | None = None


class SequenceInput(SpecModel):
    """One column of sequences."""

    kind: Literal["sequence"] = "sequence"
    longest: Literal["auto"] | Length = "auto"
    """Steps beyond are cut off; `auto`: as many as the longest row has, at most 1024."""


class TextInput(SpecModel):
    """One column of texts."""

    kind: Literal["text"] = "text"
    vocabulary: Literal["byte", "word"] = "word"
    """`byte`: the 256 bytes of UTF-8; `word`: the most frequent words of the training rows."""
    size: Annotated[Int, Field(ge=1, le=1_000_000)] = 10_000
    """Words at most; the rest are one id."""
    longest: Literal["auto"] | Length = "auto"
    """Tokens beyond are cut off; `auto`: as many as the longest training row has, at most 256 words or 1024 bytes."""
    lowercase: Flag = True


class SoundInput(SpecModel):
    """One column of sounds, and the log-mel spectrum that the network makes of them."""

    kind: Literal["sound"] = "sound"
    rate: Literal["auto"] | Annotated[Int, Field(ge=100, le=192_000)] = "auto"
    """Samples a second; `auto`: the highest rate that occurs, at most 16000."""
    seconds: Literal["auto"] | Annotated[Number, Field(gt=0.0, le=600.0)] = "auto"
    """What a sound has beyond is cut off; `auto`: as long as the longest row, at most 10 s."""
    window: Literal["auto"] | Annotated[Int, Field(ge=16, le=LONGEST_WINDOW)] = "auto"
    """Samples under one window of the spectrum; `auto`: 25 ms."""
    hop: Literal["auto"] | Annotated[Int, Field(ge=1, le=65_536)] = "auto"
    """Samples from one window to the next; `auto`: 10 ms."""
    mels: Literal["auto"] | Annotated[Int, Field(ge=4, le=256)] = "auto"
    """Bands of the spectrum; `auto`: 40, or as many as the window has frequencies."""


InputSpec = Annotated[
    TableInput | ImageInput | SequenceInput | TextInput | SoundInput,
    Field(discriminator="kind"),
]
