"""Arrays in memory, and files by their ending, as tables for a notebook."""

from __future__ import annotations

import io

import numpy as np
import pytest

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.formats.npz_table import read_npz
from softreg_core.data.parse import read_table_file
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError


@pytest.mark.parametrize(
    ("features", "lengths"),
    [
        (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), None),
        (np.linspace(0, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5), None),
        (np.arange(24.0).reshape(2, 4, 3), None),
        (np.arange(24.0).reshape(2, 4, 3), np.array([4, 2])),
        (np.arange(8.0).reshape(2, 4), np.array([4, 2])),
        (np.arange(8.0).reshape(2, 4), None),
    ],
    ids=["gray images", "images", "sequences", "padded", "padded series", "columns"],
)
def test_arrays_are_what_an_npz_file_of_them_is(features, lengths):
    buffer = io.BytesIO()
    extra = {} if lengths is None else {"lengths": lengths}
    np.savez(buffer, features=features, target=np.arange(2), **extra)
    parsed = read_npz(io.BytesIO(buffer.getvalue()), ParseLimits())
    table = table_from_arrays(features, np.arange(2), lengths=lengths)
    assert table.report == parsed.report
    assert table.tensors.keys() == parsed.tensors.keys()
    for name, values in parsed.tensors.items():
        assert np.array_equal(table.tensors[name], values)


@pytest.mark.parametrize(
    "texts", [["größe", "", "a"], np.array(["größe", "", "a"]), np.array(["größe", "", "a"], object)]
)
def test_texts_are_one_column_and_never_a_category(texts):
    table = table_from_arrays(texts, np.array(["x", "y", "x"]))
    assert table.column("features").kind == "text"
    assert table.texts("features", [0, 1, 2]) == ["größe", "", "a"]
    assert table.labels("target").tolist() == ["x", "y", "x"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_list_of_sequences_that_differ_in_length_is_a_column_of_sequences(dtype):
    rows = [np.arange(6).reshape(3, 2).astype(dtype), np.arange(2).reshape(1, 2).astype(dtype)]
    table = table_from_arrays(rows, [0.0, 1.0])
    assert [part.tolist() for part in table.sequences("features", [0, 1])] == [row.tolist() for row in rows]
    assert table.tensors["features"].dtype == (np.float32 if dtype == np.float32 else np.float64)
    series = table_from_arrays([[1, 2, 3], [4]], [0.0, 1.0])
    assert [part.ravel().tolist() for part in series.sequences("features", [1, 0])] == [[4.0], [1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("features", "options"),
    [
        ([np.ones((2, 2)), np.ones((1, 3))], {}),
        ([np.ones((2, 2)), np.ones((0, 2))], {}),
        ([np.ones((2, 2)), np.ones((1, 2, 2))], {}),
        ([np.array(["a", "b"]), np.array(["c"])], {}),
        (np.ones((2, 2, 2, 2)), {}),
        (np.ones((2, 3, 0)), {}),
        (np.ones((2, 3)), {"lengths": [1, 4]}),
        (np.ones((2, 3, 2)), {"lengths": [1]}),
        (np.ones((3, 3, 2)), {}),
        (np.full((2, 2, 2), "x"), {}),
    ],
)
def test_what_does_not_fit_is_refused(features, options):
    with pytest.raises(DataError):
        table_from_arrays(features, [0.0, 1.0], **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"x\n1\n"), ("a.TSV", b"x\n1\n"), ("a.jsonl", b'{"x": 1}\n'), ("a.ndjson", b'{"x": 1}\n')],
)
def test_a_file_is_read_by_its_ending(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert read_table_file(path).values(["x"]).tolist() == [[1.0]]


def test_a_file_that_is_not_there_or_of_no_known_ending_is_refused(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"ARROW1")
    for name, reason in (("none.csv", "missing_file"), ("a.arrow", "unknown_format")):
        with pytest.raises(DataError) as caught:
            read_table_file(tmp_path / name)
        assert caught.value.reason == reason
