"""NPZ files: what arrays become, and the archives that are refused."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from softreg_core.data.report import Flaw
from softreg_core.data.request import ParseLimits
from softreg_core.data.table import Table
from softreg_core.errors import DataError

PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"


def npy(header=PLAIN, data=bytes(16), version=(1, 0), length=None):
    """The bytes of a .npy file, as wrong as asked for."""
    text = header.encode() + b"\n"
    form = "<H" if version == (1, 0) else "<I"
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, len(text) if length is None else length) + text + data


def shaped(shape, descr="<f8"):
    """A header that claims a shape and a type."""
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"


def archive(*members, compression=zipfile.ZIP_STORED):
    """A zip archive of (name, bytes)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def saved(**arrays):
    """What numpy.savez writes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def places(table):
    return [(column.name, column.tensor, column.position, column.group) for column in table.report.columns]


def test_features_and_target_become_columns_by_position(npz_table):
    features = np.arange(24, dtype=np.float32).reshape(3, 8)
    table = npz_table(target=np.array([1, 0, 1]), features=features)
    assert places(table) == [
        *((f"features.{i}", "features", i, "features") for i in range(8)),
        ("target", "target", 0, "target"),
    ]
    assert table.tensors["features"].dtype == np.float32
    assert np.array_equal(table.tensors["features"], features)
    assert table.tensors["target"].tolist() == [[1], [0], [1]]
    assert table.report.columns[-1].levels == ("0", "1")
    assert table.report.columns[-1].level_counts == (1, 2)
    assert (table.report.format, table.report.rows) == ("npz", 3)


def test_a_target_of_two_dimensions_has_numbered_columns(npz_table):
    table = npz_table(features=np.ones(2), target=np.eye(2))
    assert places(table) == [
        ("features.0", "features", 0, "features"),
        ("target.0", "target", 0, "target"),
        ("target.1", "target", 1, "target"),
    ]


def test_another_array_of_one_dimension_is_a_column_between(npz_table):
    table = npz_table(target=np.ones(2), age=np.array([30, 40], np.uint8), features=np.ones((2, 1)))
    assert places(table)[1] == ("age", "age", 0, None)
    assert table.tensors["age"].tolist() == [[30], [40]]


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.bool_, np.bool_),
        (np.uint8, np.uint8),
        (np.int64, np.int64),
        (">i2", np.int16),
        (">f8", np.float64),
        (np.float16, np.float32),
        (np.longdouble, np.float64),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_layouts_are_kept_or_widened(npz_table, dtype, stored, order):
    values = np.asarray([[0, 1, 1], [1, 0, 1]], dtype=dtype, order=order)
    tensor = npz_table(features=values).tensors["features"]
    assert tensor.dtype == stored
    assert tensor.dtype.isnative
    assert tensor.flags.c_contiguous
    assert tensor.tolist() == values.tolist()


def test_truth_values_have_names(npz_table):
    column = npz_table(target=np.array([True, False, True])).report.columns[0]
    assert (column.kind, column.levels, column.level_counts) == ("numeric", ("false", "true"), (1, 2))


def test_nan_and_infinity_are_counted_as_non_finite(npz_table):
    column = npz_table(features=np.array([1.0, np.nan, np.inf, 4.0])).report.columns[0]
    assert column.flaws == (Flaw(kind="non_finite", count=2, first_rows=(2, 3)),)
    assert (column.minimum, column.maximum, column.distinct) == (1.0, 4.0, 2)


def test_wide_arrays_are_described_column_by_column(npz_table):
    features = np.arange(300 * 130, dtype=np.int32).reshape(300, 130)
    columns = npz_table(features=features).report.columns
    assert [column.minimum for column in columns] == features.min(axis=0).tolist()
    assert [column.mean for column in columns] == pytest.approx(features.mean(axis=0).tolist())


def test_a_compressed_file_reads_the_same(npz_table):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, features=np.zeros((1000, 50)))
    assert npz_table(buffer.getvalue()).tensors["features"].shape == (1000, 50)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(npz_table, version):
    content = archive(("x.npy", npy(data=np.array([1.5, 2.5]).tobytes(), version=version)))
    assert npz_table(content).tensors["x"].tolist() == [[1.5], [2.5]]


def _twice() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", npy())
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("x.npy", npy())
    return buffer.getvalue()


def _with_flag(flag: int) -> bytes:
    """The general purpose bits of the member, in both headers, with `flag` set."""
    content = bytearray(archive(("x.npy", npy())))
    content[6] |= flag
    content[content.index(b"PK\x01\x02") + 8] |= flag
    return bytes(content)


def _patched(signature: bytes, offset: int, form: str, value: int, **options: int) -> bytes:
    """An archive with one number overwritten in the record that begins with `signature`."""
    content = bytearray(archive(("x.npy", npy(shaped((4096,)), bytes(32768))), **options))
    struct.pack_into(form, content, content.index(signature) + offset, value)
    return bytes(content)


def _bomb() -> bytes:
    """A 40 MB array of zeros in some 40 kB."""
    return archive(("x.npy", npy(shaped((5_000_000,)), bytes(40_000_000))), compression=zipfile.ZIP_DEFLATED)


def _damaged() -> bytes:
    content = bytearray(saved(features=np.arange(1000.0)))
    content[4000] ^= 0xFF
    return bytes(content)


OBJECTS = saved(features=np.ones(2), target=np.array([{"a": 1}, None], dtype=object))
CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"
REFUSED = {
    "nothing": (b"", "empty"),
    "noise": (b"\x00\x01" * 100, "not_npz"),
    "a CSV file": (b"a,b\n1,2\n", "not_npz"),
    "a single array": (npy(), "not_npz"),
    "an empty archive": (archive(), "no_arrays"),
    "half a file": (saved(features=np.arange(1000.0))[:4000], "torn"),
    "all but the last byte": (saved(features=np.ones(3))[:-1], "torn"),
    "a flipped byte": (_damaged(), "torn"),
    "an array cut short": (archive(("x.npy", npy(shaped((3,))))), "torn"),
    "an array with bytes after it": (archive(("x.npy", npy(data=bytes(17)))), "torn"),
    "an array of no bytes": (archive(("x.npy", b"")), "npy_header"),
    "a header cut short": (archive(("x.npy", npy()[:20])), "npy_header"),
    "a header of 100 kB": (archive(("x.npy", npy(PLAIN + " " * 100_000, version=(2, 0)))), "npy_header"),
    "a header that says it has 4 GiB": (archive(("x.npy", npy(version=(2, 0), length=2**32 - 1))), "npy_header"),
    "version 9": (archive(("x.npy", b"\x93NUMPY\x09\x00" + bytes(64))), "npy_header"),
    "a header with a call": (archive(("x.npy", npy("__import__('os').abort()"))), "npy_header"),
    "a header without keys": (archive(("x.npy", npy("{}"))), "npy_header"),
    "a header of brackets": (archive(("x.npy", npy("(" * 60_000))), "npy_header"),
    "a header of signs": (archive(("x.npy", npy("-" * 60_000 + "1"))), "npy_header"),
    "a header with an open string": (archive(("x.npy", npy("{'descr': '''"))), "npy_header"),
    "an unknown type": (archive(("x.npy", npy(shaped((2,), "<q9")))), "npy_header"),
    "a negative size": (archive(("x.npy", npy(shaped((-2,))))), "npy_header"),
    "2**60 numbers": (archive(("x.npy", npy(shaped((2**60,))))), "compression_ratio"),
    "sizes whose product overflows": (archive(("x.npy", npy(shaped((2**32, 2**32))))), "compression_ratio"),
    "a 40 MB array in 40 kB": (_bomb(), "compression_ratio"),
    "objects": (OBJECTS, "dtype"),
    "objects by a short name": (archive(("x.npy", npy(shaped((2,), "O")))), "dtype"),
    "texts": (saved(target=np.array(["a", "b"])), "dtype"),
    "complex numbers": (saved(features=np.ones(2, complex)), "dtype"),
    "dates": (saved(features=np.array(["2020-01-01"], "M8[D]")), "dtype"),
    "records": (saved(features=np.zeros(2, [("a", "f8"), ("b", "O")])), "dtype"),
    "a text": (archive(("x.npy", npy()), ("readme.txt", b"hello")), "array_name"),
    "an archive in the archive": (archive(("x.npz", archive(("x.npy", npy())))), "array_name"),
    "a path": (archive(("../../etc/x.npy", npy())), "array_name"),
    "a Windows path": (archive(("..\\x.npy", npy())), "array_name"),
    "no name": (archive((".npy", npy())), "array_name"),
    "a line break in a name": (archive(("a\nb.npy", npy())), "array_name"),
    "a long name": (archive(("x" * 256 + ".npy", npy())), "array_name"),
    "a folder": (archive(("x.npy/", b"")), "array_name"),
    "a name twice": (_twice(), "duplicate_column"),
    "a column's name as an array": (saved(features=np.ones((2, 2)), **{"features.1": np.ones(2)}), "duplicate_column"),
    "2,000 arrays": (archive(*((f"x{i}.npy", npy()) for i in range(2000))), "too_many_arrays"),
    "encryption": (_with_flag(0x1), "encrypted"),
    "a patch archive": (_with_flag(0x20), "zip"),
    "bzip2": (archive(("x.npy", npy()), compression=zipfile.ZIP_BZIP2), "zip"),
    "a size that is too small": (_patched(CENTRAL, 24, "<I", 1000), "torn"),
    "an offset outside the file": (_patched(CENTRAL, 42, "<I", 2**31), "torn"),
    "a directory outside the file": (_patched(END, 16, "<I", 2**31), "torn"),
    "a directory that is too long": (_patched(END, 12, "<I", 2**31), "torn"),
    "arrays of different length": (saved(features=np.ones((3, 2)), target=np.ones(4)), "row_counts"),
    "a single value": (saved(features=np.ones(1), target=np.float64(3.0)), "dimensions"),
    "a target of three dimensions": (saved(target=np.ones((2, 2, 2))), "dimensions"),
    "a matrix that is not features": (saved(features=np.ones((2, 2)), images=np.ones((2, 2))), "dimensions"),
    "no rows": (saved(features=np.ones((0, 3))), "no_rows"),
    "no columns": (saved(features=np.ones((3, 0))), "no_columns"),
    "20,000 columns": (saved(features=np.ones((1, 20_000), np.uint8)), "too_many_columns"),
    "longer than the array": (saved(features=np.ones((2, 3)), lengths=np.array([1, 4])), "lengths"),
    "no steps": (saved(features=np.ones((2, 3)), lengths=np.array([1, 0])), "lengths"),
    "half a step": (saved(features=np.ones((2, 3)), lengths=np.array([1.0, 2.5])), "lengths"),
    "lengths of two dimensions": (saved(features=np.ones((2, 3)), lengths=np.ones((2, 1), int)), "lengths"),
    "fewer lengths than rows": (saved(features=np.ones((2, 3)), lengths=np.array([1])), "row_counts"),
    "lengths of images": (saved(features=np.ones((2, 3, 3, 3)), lengths=np.array([1, 3])), "dimensions"),
    "lengths of nothing": (saved(features=np.ones((2, 3, 0)), lengths=np.array([1, 3])), "no_columns"),
    "images of two channels": (saved(features=np.ones((2, 2, 4, 2))), "dimensions"),
    "five dimensions": (saved(features=np.ones((2, 1, 1, 1, 1))), "dimensions"),
    "images that are too large": (saved(features=np.ones((1, 513, 1, 1), np.uint8)), "image_too_large"),
    "a name that the images need": (
        saved(features=np.ones((2, 2, 2)), **{"features.ends": np.ones(2)}),
        "array_name",
    ),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_or_broken_archive_is_refused_with_a_reason(npz_table, content, reason):
    with pytest.raises(DataError) as caught:
        npz_table(content)
    assert caught.value.reason == reason


def test_sizes_are_held_against_the_limit_before_memory_is_taken(npz_table, monkeypatch):
    def refuse(*_arguments, **_options):
        raise AssertionError("memory was taken")

    monkeypatch.setattr("softreg_core.data.formats.npz_arrays.np.empty", refuse)
    with pytest.raises(DataError) as caught:
        npz_table(archive(("x.npy", npy(shaped((2**20,))))), ParseLimits(unpacked_bytes=2**20))
    assert caught.value.reason == "too_large"


def test_an_archive_that_says_it_is_huge_is_read_for_what_it_holds(npz_table):
    table = npz_table(_patched(CENTRAL, 24, "<I", 2**31))
    assert table.report.rows == 4096


def test_the_limit_counts_all_arrays_together(npz_table):
    arrays = {f"x{i}": np.ones(100) for i in range(10)}
    assert len(npz_table(limits=ParseLimits(unpacked_bytes=12_000), **arrays).tensors) == 10
    with pytest.raises(DataError) as caught:
        npz_table(limits=ParseLimits(unpacked_bytes=6_000), **arrays)
    assert caught.value.reason == "too_large"


def test_more_rows_than_allowed_are_refused(npz_table):
    with pytest.raises(DataError) as caught:
        npz_table(limits=ParseLimits(rows=2), features=np.ones(3))
    assert caught.value.reason == "too_many_rows"


def test_the_array_at_fault_is_named(npz_table):
    with pytest.raises(DataError) as caught:
        npz_table(features=np.ones(3), target=np.ones(2))
    assert caught.value.column == "target"


def test_whole_numbers_that_float64_rounds_are_remarked_and_large_floats_are_not(npz_table):
    ids = np.array([2**53 + 1, 3], dtype=np.int64)
    warnings = npz_table(ids=ids, size=np.array([1e20, 2e20]), target=np.array([0, 1])).report.warnings
    assert len(warnings) == 1
    assert "'ids'" in warnings[0]


def test_a_matrix_in_a_file_without_features_brings_the_missing_array_to_mind(npz_table):
    with pytest.raises(DataError, match="the file has no array 'features'"):
        npz_table(feat=np.ones((3, 2)), target=np.arange(3))


def flat(table, read="sequences"):
    return getattr(Table(table.report, table.tensors), read)("features", range(table.report.rows))


def facts(table):
    column = table.report.columns[0]
    return column.name, column.kind, column.channels, column.tensor, column.position


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_small_whole_numbers_of_three_dimensions_are_gray_images(npz_table, dtype):
    features = np.arange(12).reshape(2, 3, 2).astype(dtype)
    table = npz_table(features=features, target=np.arange(2), age=np.ones(2))
    assert facts(table) == ("features", "image", 1, "features", None)
    assert table.tensors["features"].dtype == np.uint8
    assert np.array_equal(flat(table, "images"), features[:, np.newaxis])
    assert [column.name for column in table.report.columns] == ["features", "age", "target"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
def test_images_with_channels_first_or_last_are_the_same_images(npz_table, dtype):
    features = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    for array in (features, features.transpose(0, 2, 3, 1)):
        table = npz_table(features=array)
        assert facts(table)[1:3] == ("image", 3)
        assert table.tensors["features"].dtype == (np.uint8 if dtype == np.uint8 else np.float32)
        assert np.array_equal(flat(table, "images"), features)


def test_whole_numbers_past_a_byte_are_no_pixels_of_a_byte(npz_table):
    table = npz_table(features=np.array([[[256], [1]]]))
    assert facts(table)[1:3] == ("sequence", 1)
    assert flat(table)[0].tolist() == [[256.0], [1.0]]
    assert npz_table(features=np.full((1, 1, 2, 2), 256)).tensors["features"].dtype == np.float32


def test_floats_of_three_dimensions_are_sequences_and_can_be_read_as_images(npz_table):
    features = np.linspace(0, 1, 24).reshape(2, 4, 3)
    table = npz_table(features=features)
    assert facts(table) == ("features", "sequence", 3, "features", None)
    assert np.array_equal(flat(table), features)
    assert np.array_equal(flat(table, "images"), features[:, np.newaxis])


@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_lengths_make_sequences_and_padding_is_left_out(npz_table, shape, dtype):
    features = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    table = npz_table(features=features, lengths=np.array([3, 1], np.uint16), target=np.arange(2))
    column = table.report.columns[0]
    assert (column.kind, column.shortest, column.longest) == ("sequence", 1, 3)
    assert [part.tolist() for part in flat(table)] == [
        features[0].reshape(3, -1).tolist(),
        features[1, :1].reshape(1, -1).tolist(),
    ]
    assert [column.name for column in table.report.columns] == ["features", "target"]


def test_a_row_with_nan_is_counted_once_unless_it_is_padding(npz_table):
    features = np.ones((3, 2, 2))
    features[0, 1] = features[2, 0] = np.nan
    flaws = npz_table(features=features, lengths=np.array([1, 2, 2])).report.columns[0].flaws
    assert [(flaw.kind, flaw.count, flaw.first_rows) for flaw in flaws] == [("non_finite", 1, (3,))]
