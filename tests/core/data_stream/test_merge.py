"""A report put together from parts is the report of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from softreg_core.data.formats.flat_columns import Images, Sequences, Sounds, Texts
from softreg_core.data.formats.parsed import CategoryColumn, NumericColumn, TextColumn, parsed_table
from softreg_core.data.request import DISTINCT_LIMIT
from softreg_core.data.stream.chunks import chunk_of
from softreg_core.data.stream.merge import ReportMerger
from softreg_core.data.summary import Tally
from softreg_core.data.table import Table
from softreg_core.errors import DataError

ROWS = 400
_RANDOM = np.random.default_rng(0)


def flaws(mask, kind):
    tally = Tally(kind)
    tally.add(mask, 0)
    return tally.flaws()


def numbers(name, values):
    return lambda rows: NumericColumn(name, values[rows], flaws(np.isnan(values[rows]), "missing"))


def category(name, labels):
    def column(rows):
        levels, codes = np.unique(labels[rows], return_inverse=True)
        return CategoryColumn(name, codes.astype(np.int32), tuple(levels.tolist()))

    return column


def filled(kind, name, cells, *rest):
    def column(rows):
        built = kind()
        for row in rows:
            built.add(*cells[row])
        return built.finish(name, *rest)

    return column


def report(columns, rows):
    return parsed_table([column(rows) for column in columns], file_format="csv", rows=len(rows)).report


def in_parts(columns, size):
    merger = ReportMerger()
    for start in range(0, ROWS, size):
        merger.add(report(columns, np.arange(start, min(ROWS, start + size))))
    return merger.finish()


measured = _RANDOM.normal(50.0, 3.0, ROWS)
holey = np.where(_RANDOM.random(ROWS) < 0.05, np.nan, measured)
COLUMNS = {
    "measured": numbers("x", measured),
    "holey": numbers("x", holey),
    "whole": numbers("x", _RANDOM.integers(-20, 20, ROWS).astype(float)),
    "sorted": numbers("x", np.arange(ROWS) // 40.0),
    "empty_at_first": numbers("x", np.where(np.arange(ROWS) < 300, np.nan, measured)),
    "category": category("x", _RANDOM.choice(["ant", "bee", "cat"], ROWS)),
    "images": filled(Images, "x", [(np.zeros((1 + 2 * (i % 2), 4 + i % 3, 5), np.uint8),) for i in range(ROWS)]),
    "sounds": filled(Sounds, "x", [(np.zeros(10 + i, np.float32), 8000 + i % 2) for i in range(ROWS)]),
    "sequences": filled(lambda: Sequences(2, np.float32), "x", [(np.ones((1 + i % 7, 2)),) for i in range(ROWS)]),
    "texts": lambda rows: TextColumn("x", stored=filled(Texts, "x", [("a" * i,) for i in range(ROWS)], None)(rows)),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("size", [1, 37, 400])
def test_parts_say_what_the_whole_says(kind, size):
    whole, merged = report([COLUMNS[kind]], np.arange(ROWS)), in_parts([COLUMNS[kind]], size)
    (column,), (found,) = whole.columns, merged.columns
    assert merged.rows == whole.rows == ROWS
    about = {"mean", "standard_deviation"}
    left_out = {"tensor", "position", *about}
    if column.kind == "numeric" and not column.integral:  # parts list no fractions, so these are not counted
        left_out.add("distinct")
    assert found.model_dump(exclude=left_out) == column.model_dump(exclude=left_out)
    for name in about:
        expected = getattr(column, name)
        assert getattr(found, name) == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_a_constant_column_is_known_as_one():
    (column,) = in_parts([numbers("x", np.full(ROWS, 0.1))], 37).columns
    assert column.distinct == 1


def test_categories_become_texts_when_their_parts_together_have_too_many():
    names = np.array([f"name {i}" for i in range(ROWS)])
    merger = ReportMerger()
    for part in range(1 + DISTINCT_LIMIT // ROWS):
        merger.add(report([category("x", np.char.add(names, f" of {part}"))], np.arange(ROWS)))
    (column,) = merger.finish().columns
    assert (column.kind, column.levels, column.distinct) == ("text", None, None)


def test_a_column_that_changes_its_kind_is_refused_by_name():
    merger = ReportMerger()
    merger.add(report([COLUMNS["measured"]], np.arange(10)))
    with pytest.raises(DataError, match="column 'x' begins as numeric and goes on as image"):
        merger.add(report([COLUMNS["images"]], np.arange(10)))


def test_a_part_is_read_with_the_codes_of_the_whole():
    labels = np.repeat(["cow", "ant", "bee", "ant"], 100)
    columns = [category("x", labels), numbers("y", np.where(np.arange(ROWS) < 100, np.nan, 7.0))]
    tables = [
        parsed_table([column(np.arange(start, start + 100)) for column in columns], file_format="csv", rows=100)
        for start in range(0, ROWS, 100)
    ]
    merger = ReportMerger()
    for part in tables:
        merger.add(part.report)
    whole = merger.finish()
    parts = [chunk_of(whole, Table(part.report, part.tensors)) for part in tables]
    assert whole.columns[0].levels == ("ant", "bee", "cow")
    assert np.array_equal(np.concatenate([part.labels("x") for part in parts]), labels)
    assert [int(part.codes("x")[0]) for part in parts] == [2, 0, 1, 0]
    assert np.isnan(parts[0].values(["y"])).all()
    assert (parts[1].values(["y"]) == 7.0).all()
