"""From the bytes of an NPZ file to arrays, trusting none of its own words about sizes; NumPy only.

NumPy's own reader would unpack whatever a header asks for. Here the archive's directory, each array's header and
the bytes unpacked so far are held against limits before anything is allocated. Objects (pickles) are never read.
"""

from __future__ import annotations

import io
import math
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["read_arrays"]

_ENCRYPTED = 0x1
_FREE_BYTES = 16 * 2**20
"""Unpacked before the ratio counts: a constant array of this size compresses a thousandfold and is no attack."""
_BLOCK_BYTES = 2**20
_FLAT_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]+\.npy")
_KINDS = "fiub"
# What zipfile and zlib raise for archives that are cut off, overwritten or made to confuse them.
_BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    OverflowError,
    UnicodeError,
    ValueError,
    OSError,
)


def read_arrays(stream: BinaryIO, limits: ParseLimits) -> dict[str, NDArray[Any]]:
    """Every array of an NPZ file by name, in the order of the file, in native byte order and C layout.

    Raises:
        DataError: the archive or an array in it is broken, of another kind, or larger than the limits.
    """
    start = stream.read(6)
    size = stream.seek(0, io.SEEK_END)
    if not size:
        raise DataError("the file is empty", "empty")
    if start == npy.MAGIC_PREFIX:
        raise DataError("this is a single .npy array: save with numpy.savez, as features and target", "not_npz")
    if start[:2] != b"PK":
        raise DataError("this is no NPZ file", "not_npz")
    try:
        with zipfile.ZipFile(stream) as archive:
            members = _checked_members(archive, limits)
            budget = _Budget(size, limits)
            return {name: _array(archive, member, name, budget, limits) for name, member in members.items()}
    except _BROKEN_ZIP as error:
        raise DataError("the NPZ file is torn or damaged", "torn") from error
    except (NotImplementedError, RuntimeError) as error:
        raise DataError("the NPZ file uses a kind of zip archive that numpy.savez never writes", "zip") from error


def _checked_members(archive: zipfile.ZipFile, limits: ParseLimits) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by array name: flat, unencrypted, no name twice."""
    members: dict[str, zipfile.ZipInfo] = {}
    listed = archive.infolist()
    if not listed:
        raise DataError("the NPZ file has no arrays", "no_arrays")
    if len(listed) > limits.arrays:
        raise DataError(f"the NPZ file has {len(listed)} arrays, more than {limits.arrays}", "too_many_arrays")
    for number, member in enumerate(listed, start=1):
        name = member.filename.removesuffix(".npy")
        if not _FLAT_NAME.fullmatch(member.filename) or len(name) > limits.name_characters:
            raise DataError(f"member {number} of the NPZ file is no array with a plain name", "array_name")
        if name in members:
            raise DataError(f"two arrays are named '{name}'", "duplicate_column", column=name)
        if member.flag_bits & _ENCRYPTED:
            raise DataError("the NPZ file is encrypted", "encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError("the NPZ file is packed otherwise than numpy.savez does it", "zip")
        members[name] = member
    return members


class _Budget:
    """Bytes that may still be unpacked; what the archive says about its sizes plays no part."""

    def __init__(self, file_bytes: int, limits: ParseLimits) -> None:
        by_ratio = max(_FREE_BYTES, limits.unpacked_ratio * file_bytes)
        self.left = min(by_ratio, limits.unpacked_bytes)
        self._is_ratio = by_ratio < limits.unpacked_bytes
        self._limits = limits

    def spend(self, count: int) -> None:
        """Count unpacked bytes; DataError when there are too many."""
        self.left -= count
        if self.left < 0:
            raise self.exceeded()

    def exceeded(self) -> DataError:
        """The error for an archive that asks for more than is left."""
        if self._is_ratio:
            return DataError(
                f"the NPZ file unpacks to more than {self._limits.unpacked_ratio} times its size", "compression_ratio"
            )
        return DataError(f"the NPZ file unpacks to more than {self._limits.unpacked_bytes} bytes", "too_large")


def _array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, budget: _Budget, limits: ParseLimits
) -> NDArray[Any]:
    """One member as an array. Its last read meets the archive's checksum."""
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(stream, name, budget, limits)
        count = math.prod(shape)
        if count * dtype.itemsize > budget.left:
            raise budget.exceeded()
        values = np.empty(count, dtype=dtype)
        _fill(stream, values, name, budget)
    values = values.reshape(shape, order="F" if fortran else "C")
    return np.asarray(values, dtype=_stored(dtype), order="C")


def _header(
    stream: IO[bytes], name: str, budget: _Budget, limits: ParseLimits
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, layout and type from a .npy header of version 1, 2 or 3, parsed only once its length is known."""
    start = stream.read(8)
    version = tuple(start[6:8])
    if start[:6] != npy.MAGIC_PREFIX or version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"'{name}' is no .npy array of version 1 to 3", "npy_header", column=name)
    length_bytes = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(length_bytes, "little")
    if length > limits.header_bytes:
        raise DataError(f"the header of array '{name}' has {length} bytes", "npy_header", column=name)
    text = stream.read(length)
    budget.spend(len(start) + len(length_bytes) + len(text))
    # Version 3 differs from 2 only in the names of a record's fields, and records are refused.
    parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype = parse(io.BytesIO(length_bytes + text), max_header_size=limits.header_bytes)
    # MemoryError: the parser's answer to very deep nesting, not a lack of memory.
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise DataError(f"the header of array '{name}' cannot be read", "npy_header", column=name) from error
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise DataError(
            f"array '{name}' holds neither numbers nor truth values; texts and objects are not read from NPZ",
            "dtype",
            column=name,
        )
    if any(axis < 0 for axis in shape):
        raise DataError(f"array '{name}' has a negative size", "npy_header", column=name)
    return tuple(int(axis) for axis in shape), fortran, dtype


def _fill(stream: IO[bytes], values: NDArray[Any], name: str, budget: _Budget) -> None:
    """Read exactly the bytes of `values`, then the end of the member."""
    target = values.view(np.uint8).data
    filled = 0
    while filled < len(target):
        block = stream.read(min(_BLOCK_BYTES, len(target) - filled))
        if not block:
            raise DataError(f"array '{name}' ends early", "torn", column=name)
        budget.spend(len(block))
        target[filled : filled + len(block)] = block
        filled += len(block)
    if stream.read(1):
        raise DataError(f"array '{name}' has bytes after its end", "torn", column=name)


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in the stored file: native byte order; half and extended floats become the nearest common one."""
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype.newbyteorder("=")
