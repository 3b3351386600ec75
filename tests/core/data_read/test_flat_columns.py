"""Columns whose rows differ in size: stored flat, and given back row by row."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from softreg_core.data.formats.flat_columns import Images, Sequences, Sounds, Texts
from softreg_core.data.formats.parsed import CategoryColumn, parsed_table
from softreg_core.data.report import DatasetReport
from softreg_core.data.request import DISTINCT_LIMIT, ParseLimits
from softreg_core.data.table import Table, load_table
from softreg_core.errors import DataError


@pytest.fixture
def stored(tmp_path):
    """`stored(column, ...)` writes columns to a file and reads them back."""

    def store(*columns, rows) -> Table:
        parsed = parsed_table(columns, file_format="npz", rows=rows)
        parsed.write(tmp_path / "table", parsed.report_json(ParseLimits()))
        return load_table(tmp_path / "table")

    return store


def image(channels, height, width, start=0):
    return (np.arange(start, start + channels * height * width, dtype=np.uint8)).reshape(channels, height, width)


def test_texts_come_back_as_they_were(stored):
    texts = Texts()
    for text in ("größe", None, "", "日本語 🙂"):
        texts.add(text)
    table = stored(texts.finish("t", 3), rows=4)
    assert table.texts("t", [3, 0, 1, 2]) == ["日本語 🙂", "größe", "", ""]
    column = table.column("t")
    assert (column.kind, column.distinct, column.shortest, column.longest) == ("text", 3, 0, 5)
    assert [(flaw.kind, flaw.count, flaw.first_rows) for flaw in column.flaws] == [("missing", 1, (2,))]


def test_the_texts_of_a_category_are_its_levels(stored):
    table = stored(CategoryColumn("k", np.array([1, -1, 0], dtype=np.int32), ("cat", "dog")), rows=3)
    assert table.texts("k", np.array([0, 1, 2])) == ["dog", "", "cat"]


def test_a_csv_column_of_many_texts_is_stored(csv_table):
    names = [f"name {i}" for i in range(DISTINCT_LIMIT + 500)]
    parsed = csv_table("x,y\n" + "\n".join(f"{name},1" for name in ["", *names]))
    table = Table(parsed.report, parsed.tensors)
    assert table.texts("x", range(len(names) + 1)) == ["", *names]
    assert table.column("x").flaws[0].first_rows == (1,)


def test_a_csv_column_with_one_long_text_is_stored(csv_table):
    parsed = csv_table(f"x,y\na,1\n{'b' * 300},1\nNA,1\n")
    assert Table(parsed.report, parsed.tensors).texts("x", [1, 0, 2]) == ["b" * 300, "a", ""]


def test_a_csv_column_that_turns_from_numbers_to_texts_says_that_it_was_not_stored(csv_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.csv_table._CELLS_PER_BLOCK", 500)
    cells = [*map(str, range(DISTINCT_LIMIT + 1)), *(f"t{i}" for i in range(DISTINCT_LIMIT + 500))]
    parsed = csv_table("x\n" + "\n".join(cells))
    assert (parsed.report.columns[0].kind, parsed.report.columns[0].tensor) == ("text", None)
    assert "not stored" in parsed.report.warnings[0]
    with pytest.raises(DataError) as caught:
        Table(parsed.report, parsed.tensors).texts("x", [0])
    assert caught.value.reason == "not_stored"


def test_a_csv_column_that_turns_from_texts_to_numbers_is_one_of_numbers(csv_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.csv_table._CELLS_PER_BLOCK", 500)
    cells = [*(f"t{i}" for i in range(DISTINCT_LIMIT + 1)), *map(str, range(DISTINCT_LIMIT + 500))]
    column = csv_table("x\n" + "\n".join(cells)).report.columns[0]
    assert (column.kind, column.flaws[0].kind, column.flaws[0].count) == (
        "numeric",
        "text_in_numbers",
        DISTINCT_LIMIT + 1,
    )


def test_images_of_any_size_come_back_and_gray_ones_among_colours_have_three_channels(stored):
    images = Images()
    gray, colour = image(1, 2, 3), image(3, 4, 2, start=100)
    for pixels in (gray, None, colour):
        images.add(pixels)
    table = stored(images.finish("i"), rows=3)
    found = table.images("i", [2, 0, 1])
    assert np.array_equal(found[0], colour)
    assert np.array_equal(found[1], np.concatenate([gray] * 3))
    assert found[2].size == 0
    column = table.column("i")
    assert (column.channels, column.heights, column.widths) == (3, (2, 4), (2, 3))
    assert (column.minimum, column.maximum, column.flaws[0].first_rows) == (0.0, 123.0, (2,))


def test_images_of_one_size_come_from_an_array(stored):
    pixels = np.linspace(0.0, 1.0, 48, dtype=np.float32).reshape(2, 3, 4, 2)
    pixels[1, 0, 0, 0] = np.nan
    table = stored(Images.of_array("i", pixels), rows=2)
    assert np.array_equal(table.images("i", [1])[0], pixels[1], equal_nan=True)
    assert table.column("i").flaws[0].first_rows == (2,)


def test_sounds_come_back_with_their_rates(stored):
    sounds = Sounds()
    tone = np.sin(np.arange(100, dtype=np.float32))
    sounds.add(tone, 50)
    sounds.add(None)
    sounds.add(tone[:20], 20)
    table = stored(sounds.finish("s"), rows=3)
    found = table.sounds("s", [2, 1, 0])
    assert [len(samples) for samples in found] == [20, 0, 100]
    assert np.array_equal(found[2], tone)
    assert table.rates("s", [2, 1, 0]).tolist() == [20, 0, 50]
    assert (table.column("s").rates, table.column("s").seconds) == ((20, 50), (1.0, 2.0))


def test_samples_stored_as_whole_numbers_are_between_minus_one_and_one(tmp_path):
    sounds = Sounds()
    sounds.add(np.zeros(2, dtype=np.float32), 8000)
    parsed = parsed_table([sounds.finish("s")], file_format="npz", rows=1)
    tensors = parsed.tensors | {"flat.0": np.array([-32768, 16384], dtype=np.int16)}
    assert Table(parsed.report, tensors).sounds("s", [0])[0].tolist() == [-1.0, 0.5]


def test_sequences_come_back_and_padding_is_not_stored(stored):
    steps = np.arange(24.0).reshape(2, 4, 3)
    steps[0, 3] = np.nan  # beyond the first row's length
    one = Sequences(2, np.float32)
    for rows in ([[1, 2]], None):
        one.add(None if rows is None else np.array(rows))
    table = stored(Sequences.of_array("padded", steps, np.array([3, 4])), one.finish("ragged"), rows=2)
    assert np.array_equal(table.sequences("padded", [1, 0])[0], steps[1])
    assert np.array_equal(table.sequences("padded", [1, 0])[1], steps[0, :3])
    assert table.tensors["flat.0"].shape == (7, 3)
    assert [part.tolist() for part in table.sequences("ragged", [0, 1])] == [[[1.0, 2.0]], []]
    padded = table.column("padded")
    assert (padded.channels, padded.shortest, padded.longest, padded.flaws) == (3, 3, 4, ())


def test_what_may_be_images_or_sequences_is_read_as_either(stored):
    cube = np.arange(24.0, dtype=np.float32).reshape(2, 4, 3)
    table = stored(
        Sequences.of_array("s", cube, np.array([4, 4])), Images.of_array("i", cube[:, np.newaxis].copy()), rows=2
    )
    assert np.array_equal(table.images("s", [1])[0], cube[1:])
    assert np.array_equal(table.sequences("i", [1])[0], cube[1])


def test_another_kind_is_refused(stored):
    texts = Texts()
    texts.add("x")
    table = stored(texts.finish("t", 1), rows=1)
    for read in (table.images, table.sounds, table.sequences, table.rates):
        with pytest.raises(DataError) as caught:
            read("t", [0])
        assert (caught.value.reason, caught.value.column) == ("wrong_kind", "t")


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        (".ends", np.array([9, 6], dtype=np.int64)),
        (".ends", np.array([3, 7], dtype=np.int64)),
        (".ends", np.array([3], dtype=np.int64)),
        (".ends", np.array([3, 6], dtype=np.int32)),
        (".sizes", np.array([[1, 1, 3], [1, 1, 4]], dtype=np.int32)),
        (".sizes", np.array([[1, 3], [1, 3]], dtype=np.int32)),
        ("", np.zeros((6, 1), dtype=np.uint8)),
    ],
)
def test_a_stored_file_whose_rows_point_outside_of_it_is_refused(tmp_path, suffix, values):
    images = Images()
    images.add(image(1, 1, 3))
    images.add(image(1, 3, 1))
    parsed = parsed_table([images.finish("i")], file_format="npz", rows=2)
    path = tmp_path / "table"
    for tensors in (parsed.tensors | {f"flat.0{suffix}": values}, {"flat.0": parsed.tensors["flat.0"]}):
        save_file(tensors, path, metadata={"softreg.report": parsed.report.model_dump_json()})
        with pytest.raises(DataError) as caught:
            load_table(path)
        assert caught.value.reason == "unreadable"


def test_a_report_from_before_there_were_such_columns_is_read(tmp_path):
    text = (
        '{"format": "csv", "rows": 1, "columns": [{"name": "a", "kind": "numeric", "integral": false, "group": null, '
        '"tensor": "numbers", "position": 0, "distinct": 1, "levels": null, "level_counts": null, "minimum": 0.5, '
        '"maximum": 0.5, "mean": 0.5, "standard_deviation": 0.0, "flaws": []}, {"name": "t", "kind": "text"}], '
        '"warnings": []}'
    )
    save_file({"numbers": np.full((1, 1), 0.5)}, tmp_path / "table", metadata={"softreg.report": text})
    table = load_table(tmp_path / "table")
    assert table.report == DatasetReport.model_validate_json(text)
    assert table.values(["a"]).tolist() == [[0.5]]
