"""Parquet files: which types are taken, what becomes of them, and files that lie."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from softreg_core.data.request import DISTINCT_LIMIT, ParseLimits
from softreg_core.errors import DataError


def flaws(parsed, index=0):
    return [(flaw.kind, flaw.count, flaw.first_rows) for flaw in parsed.report.columns[index].flaws]


DAY, NOON = dt.date(1970, 1, 3), dt.datetime(1970, 1, 1, 12, tzinfo=dt.UTC)
NUMBERS = {
    "int8": (pa.array([1, None, -3], pa.int8()), [1, None, -3]),
    "uint64": (pa.array([2**60, None, 0], pa.uint64()), [2**60, None, 0]),
    "float16": (pa.array(np.array([0.5, 1, 2], np.float16)), [0.5, 1, 2]),
    "float32": (pa.array([0.5, None, 2], pa.float32()), [0.5, None, 2]),
    "decimal": (pa.array([decimal.Decimal("1.25"), None]), [1.25, None]),
    "boolean": (pa.array([True, None, False]), [1, None, 0]),
    "dictionary": (pa.array([7, None, 7]).dictionary_encode(), [7, None, 7]),
    "date": (pa.array([DAY, None]), [2, None]),
    "date in milliseconds": (pa.array([DAY, None], pa.date64()), [2, None]),
    "timestamp": (pa.array([NOON, None], pa.timestamp("us")), [43200, None]),
    "timestamp with a zone": (pa.array([NOON, None], pa.timestamp("ms", "Europe/Berlin")), [43200, None]),
    "time": (pa.array([dt.time(0, 1), None], pa.time32("ms")), [60, None]),
    "time in nanoseconds": (pa.array([dt.time(0, 1), None], pa.time64("ns")), [60, None]),
    "duration": (pa.array([dt.timedelta(seconds=3), None], pa.duration("ms")), [3, None]),
}


@pytest.mark.parametrize(("array", "wanted"), NUMBERS.values(), ids=NUMBERS.keys())
def test_whatever_is_a_number_becomes_one(parquet_table, as_table, array, wanted):
    parsed = parquet_table({"x": array})
    values = as_table(parsed).values(["x"])[:, 0].tolist()
    assert [None if np.isnan(value) else value for value in values] == wanted
    missing = [row for row, value in enumerate(wanted, start=1) if value is None]
    assert flaws(parsed) == ([("missing", len(missing), tuple(missing))] if missing else [])


def test_truth_values_are_called_so_and_times_are_remarked(parquet_table):
    report = parquet_table({"b": [True, False], "d": [DAY, DAY], "t": [NOON, NOON]}).report
    assert report.columns[0].levels == ("false", "true")
    assert report.warnings == ("column 'd' holds times: read as days", "column 't' holds times: read as seconds")


def test_nan_is_not_missing(parquet_table):
    assert flaws(parquet_table({"x": pa.array([np.nan, None, np.inf])})) == [
        ("missing", 1, (2,)),
        ("non_finite", 2, (1, 3)),
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_are_a_category_or_kept(parquet_table, as_table, kind):
    few = parquet_table({"t": pa.array(["b", None, "a", ""]).cast(kind)})
    assert few.report.columns[0].levels == ("", "a", "b")
    assert as_table(few).texts("t", [0, 1, 2, 3]) == ["b", "", "a", ""]
    names = [None, *(f"größe {row}" for row in range(DISTINCT_LIMIT + 1))]
    many = parquet_table({"t": pa.array(names).cast(kind)}, row_group_size=100)
    assert (many.report.columns[0].kind, flaws(many)) == ("text", [("missing", 1, (1,))])
    assert as_table(many).texts("t", range(len(names))) == ["", *names[1:]]


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.int16()), pa.list_(pa.float64())])
def test_lists_of_numbers_are_sequences(parquet_table, as_table, kind):
    parsed = parquet_table({"s": pa.array([None, [1, 2, 3], [], [4]], kind)}, row_group_size=2)
    table = as_table(parsed)
    assert [part.ravel().tolist() for part in table.sequences("s", [1, 3])] == [[1, 2, 3], [4]]
    assert table.tensors["flat.0"].dtype == (np.float32 if kind.value_type == pa.float32() else np.float64)
    assert flaws(parsed) == [("missing", 2, (1, 3))]


@pytest.mark.parametrize("step", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_lists_of_lists_are_sequences_of_steps(parquet_table, as_table, step):
    steps = [[[1, 2], [3, 4]], None, [[5, 6]]]
    table = as_table(parquet_table({"s": pa.array(steps, pa.list_(step))}))
    assert [part.tolist() for part in table.sequences("s", [0, 1, 2])] == [steps[0], [], steps[2]]
    assert (table.column("s").channels, table.column("s").longest) == (2, 2)


def test_a_null_within_a_list_is_no_number(parquet_table):
    assert flaws(parquet_table({"s": pa.array([[1.0], [None, 1.0]])})) == [("non_finite", 1, (2,))]


def test_lists_of_a_fixed_size_are_a_group_of_columns(parquet_table, as_table):
    array = pa.array([[1, 2], None, [None, 6]], pa.list_(pa.int32(), 2))
    parsed = parquet_table({"x": array, "y": [1, 2, 3]}, row_group_size=2)
    assert [(column.name, column.group) for column in parsed.report.columns] == [
        ("x.0", "x"),
        ("x.1", "x"),
        ("y", None),
    ]
    assert np.array_equal(
        as_table(parsed).values(["x.0", "x.1"]), [[1, 2], [np.nan, np.nan], [np.nan, 6]], equal_nan=True
    )
    assert flaws(parsed) == [("missing", 2, (2, 3))]


def test_bytes_are_images_or_sounds_by_their_content(parquet_table, as_table, image_bytes, sound_bytes):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image, sound = image_bytes(pixels), sound_bytes(np.zeros(80), 16000, "FLAC")
    parsed = parquet_table(
        {
            "i": [None, image, image],
            "hf": [{"bytes": image, "path": "../../etc/passwd"}, None, {"bytes": image, "path": None}],
            "s": pa.array([sound, None, sound], pa.large_binary()),
        }
    )
    table = as_table(parsed)
    assert [table.column(name).kind for name in ("i", "hf", "s")] == ["image", "image", "sound"]
    assert [flaws(parsed, index)[0][2] for index in range(3)] == [(1,), (2,), (2,)]
    assert np.array_equal(table.images("hf", [2])[0][0], pixels)
    assert table.rates("s", [0]).tolist() == [16000]


def test_images_that_were_made_smaller_are_counted(parquet_table, image_bytes):
    large, small = image_bytes(np.zeros((600, 10), np.uint8)), image_bytes(np.zeros((10, 10), np.uint8))
    report = parquet_table({"i": [large, small, large]}).report
    assert report.warnings == ("column 'i': images with a side of more than 512 pixels were made smaller: 2",)
    assert report.columns[0].heights == (10, 512)


def test_a_column_of_nothing_is_empty(parquet_table):
    report = parquet_table({"n": pa.nulls(3), "b": pa.array([None] * 3, pa.binary()), "x": [1, 2, 3]}).report
    assert [(column.kind, column.tensor) for column in report.columns[:2]] == [("text", None)] * 2
    assert report.warnings == ("column 'n' is empty", "column 'b' is empty")


REFUSED_TYPES = {
    "a struct": (pa.array([{"a": 1}]), "type"),
    "a map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "type"),
    "texts in lists": (pa.array([["x"]]), "type"),
    "lists of three levels": (pa.array([[[[1]]]]), "type"),
    "bytes of a fixed size": (pa.array([b"abcd"], pa.binary(4)), "type"),
    "bytes that are nothing": (pa.array([b"hello"]), "bytes"),
    "a pickle": (pa.array([b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94"]), "bytes"),
    "only a path": (
        pa.array([{"bytes": None, "path": "cat.png"}], pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "path",
    ),
    "steps of different size": (pa.array([[[1.0, 2.0], [3.0]]]), "steps"),
    "a step that is null": (pa.array([[[1.0, 2.0], None]]), "steps"),
    "steps without values": (pa.array([[[]]], pa.list_(pa.list_(pa.int8()))), "steps"),
    "rows of different width": (pa.array([[[1.0, 2.0]], [[3.0]]]), "steps"),
    "a NUL in a text": (pa.array(["a\0b"]), "characters"),
    "a text that is too long": (pa.array(["x" * (2**20 + 1)]), "field_too_large"),
    "bytes called text": (pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers()), "encoding"),
    "20,000 numbers of a fixed size": (pa.array([[0] * 20_000], pa.list_(pa.int8(), 20_000)), "too_many_columns"),
}


@pytest.mark.parametrize(("array", "reason"), REFUSED_TYPES.values(), ids=REFUSED_TYPES.keys())
def test_what_cannot_be_learnt_from_is_refused_with_its_column(parquet_table, array, reason):
    with pytest.raises(DataError) as caught:
        parquet_table({"x": array})
    assert caught.value.reason == reason
    assert caught.value.column == ("x" if reason != "encoding" else None)


def test_the_row_of_a_damaged_cell_is_named(parquet_table, image_bytes):
    image = image_bytes(np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError) as caught:
        parquet_table({"i": [image] * 99 + [image[:-9]]}, row_group_size=30)
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("image", 100, "i")


def written(table, **options):
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


WHOLE = written(pa.table({"x": list(range(1000)), "t": ["a", "b"] * 500}))
REFUSED_FILES = {
    "nothing": (b"", "empty"),
    "another format": (b"a,b\n1,2\n", "not_parquet"),
    "Arrow IPC": (b"ARROW1\0\0" + bytes(100), "not_parquet"),
    "encryption": (b"PARE" + WHOLE[4:-4] + b"PARE", "not_parquet"),
    "a mark alone": (b"PAR1", "torn"),
    "two marks": (b"PAR1PAR1", "torn"),
    "a cut off end": (WHOLE[:-20], "torn"),
    "a cut out middle": (WHOLE[:100] + WHOLE[400:], "torn"),
    "a footer that is too long": (WHOLE[:-8] + b"\xff\xff\xff\x7f" + WHOLE[-4:], "torn"),
    "a damaged schema of Arrow's": (
        written(pa.table([pa.array([1])], schema=pa.schema({"x": pa.int64()}, metadata={"ARROW:schema": "AAAA"}))),
        "torn",
    ),
    "no columns": (written(pa.table({})), "no_columns"),
    "no rows": (written(pa.table({"x": pa.array([], pa.int64())})), "no_rows"),
    "a name twice": (written(pa.Table.from_arrays([pa.array([1])] * 2, names=["x", "x"])), "duplicate_column"),
    "a name of a group's column": (
        written(pa.table({"x": pa.array([[1]], pa.list_(pa.int8(), 1)), "x.0": [1]})),
        "duplicate_column",
    ),
    "no name": (written(pa.table({"": [1]})), "column_name"),
    "a control character in a name": (written(pa.table({"a\nb": [1]})), "column_name"),
    "10,001 columns": (
        written(pa.table({str(i): pa.array([1], pa.int8()) for i in range(10_001)})),
        "too_many_columns",
    ),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED_FILES.values(), ids=REFUSED_FILES.keys())
def test_a_broken_or_hostile_file_is_refused_with_a_reason(parquet_table, content, reason):
    with pytest.raises(DataError) as caught:
        parquet_table(content)
    assert caught.value.reason == reason


def test_more_rows_than_allowed_are_refused(parquet_table):
    with pytest.raises(DataError) as caught:
        parquet_table({"x": [1, 2, 3]}, limits=ParseLimits(rows=2))
    assert caught.value.reason == "too_many_rows"


def test_what_pandas_and_arrow_wrote_beside_the_columns_plays_no_part(parquet_table):
    schema = pa.schema([pa.field("x", pa.int64(), metadata={"PARQUET:field_id": "1"})])
    schema = schema.with_metadata({"pandas": json.dumps({"index_columns": ["__import__('os')"]})})
    assert parquet_table(written(pa.table([pa.array([1, 2])], schema=schema))).report.rows == 2


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", "none"])
def test_every_usual_compression_is_read(parquet_table, compression):
    assert parquet_table({"x": list(range(5000))}, compression=compression, row_group_size=700).report.rows == 5000


def test_rows_stay_in_place_whatever_the_size_of_a_batch(parquet_table, as_table, monkeypatch):
    rows = 23
    lists = [None if row % 5 == 1 else list(range(row % 4)) for row in range(rows)]
    columns = {
        "flat": pa.array(lists, pa.list_(pa.float64())),
        "nested": pa.array([None if row is None else [[value, row[0]] for value in row] for row in lists]),
        "fixed": pa.array([None if row % 3 == 1 else [row, -row] for row in range(rows)], pa.list_(pa.int8(), 2)),
        "text": [None if row % 7 == 1 else f"t{row}" for row in range(rows)],
    }
    whole = as_table(parquet_table(columns))
    monkeypatch.setattr("softreg_core.data.formats.parquet_table._HEAVY_ROWS_PER_BATCH", 3)
    parts = as_table(parquet_table(columns, row_group_size=10))
    assert parts.report == whole.report
    for name, tensor in whole.tensors.items():
        assert np.array_equal(parts.tensors[name], tensor, equal_nan=True)
    assert [part.ravel().tolist() for part in parts.sequences("flat", range(rows))] == [row or [] for row in lists]
    assert parts.texts("text", [0, 1, 22]) == ["t0", "", ""]
