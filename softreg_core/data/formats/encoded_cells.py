"""A column of encoded images or sounds; torch-free."""

from __future__ import annotations

from softreg_core.data.formats.flat_columns import FlatColumn, Images, Sounds
from softreg_core.data.formats.image_cells import decode_image, is_image
from softreg_core.data.formats.parsed import TextColumn, empty_column
from softreg_core.data.formats.sound_cells import decode_sound, is_sound
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["EncodedCells"]

_WANTED = {"image": "no image (PNG, JPEG, BMP, GIF, WebP)", "sound": "no sound (WAV, FLAC, Ogg)"}


class EncodedCells:
    """A column of encoded bytes: `add` each cell, then `finish` once. The first one decides what the column holds."""

    def __init__(self, name: str, limits: ParseLimits, kind: str | None = None) -> None:
        """`kind`: `image` or `sound`, when the file says which."""
        self.name = name
        self._kind = kind
        self._limits = limits
        self._column: Images | Sounds | None = None
        self._rows = 0
        self._smaller = 0

    def add(self, data: bytes | None) -> None:
        """The next cell; None is missing.

        Raises:
            DataError: the cell is neither image nor sound, not what the cells before are, or cannot be decoded.
        """
        self._rows += 1
        if data is not None:
            self._decode(data)
        elif self._column is not None:
            self._column.add(None)

    def _decode(self, data: bytes) -> None:
        if len(data) > self._limits.cell_bytes:
            raise self._misfit(f"more than {self._limits.cell_bytes} bytes", "field_too_large")
        column = self._column or self._begun(data)
        try:
            if isinstance(column, Images):
                pixels, is_smaller = decode_image(data, self._limits)
                column.add(pixels)
                self._smaller += is_smaller
            else:
                column.add(*decode_sound(data, self._limits))
        except DataError as error:
            raise self._misfit(error.message, error.reason) from error
        if column.stored_bytes > self._limits.output_bytes:
            raise self._misfit(f"decoded over {self._limits.output_bytes} bytes so far", "too_expensive")

    def _begun(self, data: bytes) -> Images | Sounds:
        """The column by its first cell, and the missing ones before it."""
        if self._kind != "sound" and is_image(data):
            self._column = Images()
        elif self._kind != "image" and is_sound(data):
            self._column = Sounds()
        else:
            kinds = _WANTED.values() if self._kind is None else (_WANTED[self._kind],)
            raise self._misfit(f"bytes that are {' and '.join(kinds)}", self._kind or "bytes")
        for _ in range(self._rows - 1):
            self._column.add(None)
        return self._column

    def _misfit(self, what: str, reason: str) -> DataError:
        return DataError(f"column '{self.name}', row {self._rows}: {what}", reason, row=self._rows, column=self.name)

    def finish(self) -> FlatColumn | TextColumn:
        """The column; one without any content has no kind and becomes an empty column of text."""
        return empty_column(self.name, self._rows) if self._column is None else self._column.finish(self.name)

    def remarks(self) -> list[str]:
        """What was done to the cells."""
        side = self._limits.image_side
        some = f"column '{self.name}': images with a side of more than {side} pixels were made smaller: {self._smaller}"
        return [some] if self._smaller else []
