"""What the cells of a CSV column become."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softreg_core.data.formats.csv_columns import MISSING
from softreg_core.data.report import Flaw
from softreg_core.data.request import DISTINCT_LIMIT


def column_of(csv_table, cells, **limits):
    """The report and the stored values of a column with these cells."""
    buffer = io.StringIO()
    # A second column keeps an empty cell from being a blank line.
    csv.writer(buffer).writerows([("x", "other"), *((cell, "1") for cell in cells)])
    table = csv_table(buffer.getvalue(), **limits)
    report = table.report.columns[0]
    if report.position is None:
        return report, None
    return report, table.tensors[report.tensor][:, report.position]


def test_numbers_are_stored_as_float64_and_summarised(csv_table):
    report, values = column_of(csv_table, ["1.5", "-2", " 3e2 ", ".5", "+4."])
    assert report.kind == "numeric"
    assert not report.integral
    assert values.tolist() == [1.5, -2.0, 300.0, 0.5, 4.0]
    assert (report.minimum, report.maximum, report.distinct) == (-2.0, 300.0, 5)
    assert report.mean == pytest.approx(60.8)
    assert report.standard_deviation == pytest.approx(np.std([1.5, -2, 300, 0.5, 4]))
    assert report.levels is None
    assert report.flaws == ()


def test_whole_numbers_have_levels_in_the_order_of_numbers(csv_table):
    report, _ = column_of(csv_table, ["10", "3", "3.0", "-0", "0", "2e0"])
    assert report.integral
    assert report.levels == ("0", "2", "3", "10")
    assert report.level_counts == (2, 1, 2, 1)


@pytest.mark.parametrize("token", sorted(MISSING))
def test_a_missing_token_is_counted_and_stored_as_nan(csv_table, token):
    report, values = column_of(csv_table, ["1.5", token, f" {token} ", "2.5"])
    assert report.flaws == (Flaw(kind="missing", count=2, first_rows=(2, 3)),)
    assert np.isnan(values[[1, 2]]).all()
    assert report.mean == 2.0


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999", "-nan"])
def test_a_number_that_is_not_finite_is_a_flaw_and_no_part_of_the_figures(csv_table, cell):
    report, values = column_of(csv_table, ["1", cell, "3"])
    assert report.flaws == (Flaw(kind="non_finite", count=1, first_rows=(2,)),)
    assert np.isnan(values[1])
    assert (report.maximum, report.mean, report.distinct) == (3.0, 2.0, 2)


RESEMBLING = ["1_000", "１２", "0x10", "1,5", "1 000", "12kg", "--1", "1e", "٣", "½", "1.2.3"]


@pytest.mark.parametrize("cell", RESEMBLING)
def test_what_only_resembles_a_number_is_text_among_many_numbers_too(csv_table, cell):
    numbers = [f"{i}.5" for i in range(DISTINCT_LIMIT + 1)]
    report, values = column_of(csv_table, [*numbers, cell, "", "7"])
    row = len(numbers) + 1
    assert report.flaws == (
        Flaw(kind="missing", count=1, first_rows=(row + 1,)),
        Flaw(kind="text_in_numbers", count=1, first_rows=(row,)),
    )
    assert np.isnan(values[row - 1 : row + 1]).all()
    assert values[-1] == 7.0


@pytest.mark.parametrize("cell", RESEMBLING)
def test_what_only_resembles_a_number_is_text(csv_table, cell):
    report, values = column_of(csv_table, ["1", cell, "3"])
    assert report.flaws == (Flaw(kind="text_in_numbers", count=1, first_rows=(2,)),)
    assert np.isnan(values[1])


def test_only_the_first_five_rows_of_a_flaw_are_named(csv_table):
    report, _ = column_of(csv_table, ["1", *["x"] * 7, *["2"] * 7])
    assert report.flaws == (Flaw(kind="text_in_numbers", count=7, first_rows=(2, 3, 4, 5, 6)),)


def test_half_numbers_make_a_column_numeric_and_fewer_do_not(csv_table):
    assert column_of(csv_table, ["1", "x", "", ""])[0].kind == "numeric"
    assert column_of(csv_table, ["1", "x", "y", ""])[0].kind == "category"


def test_categories_have_sorted_levels_and_minus_one_for_missing(csv_table):
    report, codes = column_of(csv_table, ["b", "a", "", " b ", "ä", "NA"])
    assert report.kind == "category"
    assert report.levels == ("a", "b", "ä")
    assert report.level_counts == (1, 2, 1)
    assert report.distinct == 3
    assert codes.dtype == np.int32
    assert codes.tolist() == [1, 0, -1, 1, 2, -1]
    assert report.flaws == (Flaw(kind="missing", count=2, first_rows=(3, 6)),)


def test_booleans_are_zero_and_one_with_names(csv_table):
    report, values = column_of(csv_table, ["true", "FALSE", "True", ""])
    assert report.kind == "numeric"
    assert report.levels == ("false", "true")
    assert report.level_counts == (1, 2)
    assert values[:3].tolist() == [1.0, 0.0, 1.0]
    assert math.isnan(values[3])


def test_a_boolean_among_numbers_is_text(csv_table):
    report, _ = column_of(csv_table, ["1", "true", "3"])
    assert report.flaws == (Flaw(kind="text_in_numbers", count=1, first_rows=(2,)),)


def test_an_empty_column_is_text_and_remarked(csv_table):
    table = csv_table("x,y\n,1\nNA,2\n")
    report = table.report.columns[0]
    assert (report.kind, report.tensor) == ("text", None)
    assert report.flaws == (Flaw(kind="missing", count=2, first_rows=(1, 2)),)
    assert table.report.warnings == ("column 'x' is empty",)


def test_many_different_texts_or_a_long_one_make_a_text_column(csv_table):
    many, stored = column_of(csv_table, [f"name {i}" for i in range(DISTINCT_LIMIT + 1)])
    assert (many.kind, many.distinct, stored) == ("text", None, None)
    assert column_of(csv_table, [f"name {i}" for i in range(DISTINCT_LIMIT)])[0].kind == "category"
    assert column_of(csv_table, ["a", "b" * 256])[0].kind == "text"
    assert column_of(csv_table, ["a", "b" * 255])[0].kind == "category"


def test_a_file_of_texts_alone_is_reported(csv_table):
    table = csv_table("a\n" + "x" * 300 + "\n")
    assert set(table.tensors) == {"flat.0", "flat.0.ends"}
    assert table.report.rows == 1


def test_flaws_keep_their_rows_when_a_column_outgrows_its_codebook(csv_table, monkeypatch):
    # Small blocks: the first holds few different texts, later ones too many.
    monkeypatch.setattr("softreg_core.data.formats.csv_table._CELLS_PER_BLOCK", 1000)
    cells = ["7", "", "oops", "inf", *["7"] * 600, *(f"{i}.5" for i in range(1500)), "", "oops", "-inf"]
    report, values = column_of(csv_table, cells)
    assert report.kind == "numeric"
    assert report.distinct is None
    assert report.flaws == (
        Flaw(kind="missing", count=2, first_rows=(2, 2105)),
        Flaw(kind="text_in_numbers", count=2, first_rows=(3, 2106)),
        Flaw(kind="non_finite", count=2, first_rows=(4, 2107)),
    )
    assert values[0] == 7.0
    assert values[604] == 0.5
    assert np.isnan(values[[1, 2, 3, -1, -2, -3]]).all()


def test_values_of_many_spellings_are_counted_as_values(csv_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.csv_table._CELLS_PER_BLOCK", 1000)
    report, _ = column_of(csv_table, [f"{i % 3}.{'0' * (i // 3 + 1)}" for i in range(3000)])
    assert report.levels == ("0", "1", "2")
    assert report.level_counts == (1000, 1000, 1000)


def test_figures_that_overflow_are_unknown(csv_table):
    report, _ = column_of(csv_table, ["1.7e308", "1.7e308"])
    assert (report.maximum, report.mean) == (1.7e308, None)


def test_whole_numbers_that_float64_rounds_are_remarked(csv_table):
    table = csv_table("id,y\n9007199254740993,1\n2,2\n")
    assert any("'id'" in warning and "2^53" in warning for warning in table.report.warnings)
    assert table.report.columns[0].levels is None


@pytest.mark.parametrize(
    "cell", ["1,{}", "{}%", "1 {} €", "$ {}", "({})", "-1.{}.000,5", "1'{}"], ids=lambda cell: cell.replace("{}", "n")
)
@pytest.mark.parametrize("rows", [5, DISTINCT_LIMIT - 150])
def test_a_column_of_text_that_looks_like_numbers_is_remarked_by_name_without_its_cells(csv_table, cell, rows):
    cells = [cell.format(100 + i) for i in range(rows)]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("price", "y"), *((cell, "1") for cell in cells)])
    (warning,) = csv_table(buffer.getvalue()).report.warnings
    assert "'price'" in warning
    assert "plain numbers" in warning
    assert not any(cell in warning for cell in cells)


def test_a_long_column_that_looks_like_numbers_is_remarked_too(csv_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.csv_table._CELLS_PER_BLOCK", 1000)
    rows = "".join(f'"{i},{100 + i % 900}",1\n' for i in range(3 * DISTINCT_LIMIT))
    (warning,) = csv_table(f"price,y\n{rows}").report.warnings
    assert "'price'" in warning


@pytest.mark.parametrize(
    "cells",
    [
        ["cat", "dog", "1", "2"],
        ["2020-01-01", "2021-02-03"],
        ["12:30", "13:45"],
        ["10.0.0.1", "192.168.1.17"],
        ["a", "b", "c", "5%"],
        ["1" * 300 + "%"],
    ],
    ids=["words", "dates", "times", "addresses", "few", "long"],
)
def test_other_text_is_not_remarked(csv_table, cells):
    assert csv_table("x,y\n" + "".join(f"{cell},1\n" for cell in cells)).report.warnings == ()


def test_a_header_of_numbers_is_remarked(csv_table):
    assert any("header" in warning for warning in csv_table("1,2\n3,4\n").report.warnings)


def test_numeric_columns_and_categories_have_tensors_of_their_own(csv_table):
    table = csv_table("a,k,b\n1,x,2.5\n3,y,4.5\n")
    places = [(column.name, column.tensor, column.position) for column in table.report.columns]
    assert places == [("a", "numbers", 0), ("k", "codes", 0), ("b", "numbers", 1)]
    assert table.tensors["numbers"].tolist() == [[1.0, 2.5], [3.0, 4.5]]


def test_a_wide_table_of_small_numbers_keeps_the_levels_of_its_classes(csv_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.parsed.LEVELS_OF_NUMBERS", 5)
    table = csv_table("a,b,y\n1,1,0\n2,2,1\n3,3,0\n4,1,1\n")
    a, b, y = table.report.columns
    assert (a.levels, a.level_counts, a.distinct) == (None, None, 4)
    assert b.levels == ("1", "2", "3")
    assert y.levels == ("0", "1")


FINITE = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map(str.strip)


def _is_word(text: str) -> bool:
    """Text that cannot be taken for a number, a truth value or a missing one."""
    try:
        float(text)
    except ValueError:
        return text not in MISSING and text.lower() not in {"true", "false"}
    return False


@st.composite
def tables(draw):
    """Rows of two numeric columns and one of words, with missing cells."""
    rows = draw(st.integers(1, 12))
    numbers = st.lists(FINITE | st.none(), min_size=rows, max_size=rows)
    words = st.lists(WORDS.filter(_is_word) | st.none(), min_size=rows, max_size=rows)
    return list(zip(draw(numbers), draw(numbers), draw(words), strict=True))


# The csv module of Python 3.11 leaves a carriage return unquoted when lines end with a line feed alone.
STYLES = [("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)]


@given(tables(), st.sampled_from(STYLES), st.booleans())
def test_a_table_written_by_the_csv_module_is_read_back(csv_table, rows, style, has_mark):
    line_end, quoting = style
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=line_end, quoting=quoting)
    writer.writerows([("a", 'b, "c"', "wörter"), *(["" if c is None else c for c in row] for row in rows)])
    table = csv_table(buffer.getvalue().encode("utf-8-sig" if has_mark else "utf-8"))
    assert table.report.rows == len(rows)
    assert [column.name for column in table.report.columns] == ["a", 'b, "c"', "wörter"]
    for cells, column in zip(zip(*rows, strict=True), table.report.columns, strict=True):
        present = [cell for cell in cells if cell is not None]
        if not present:
            assert column.kind == "text"
            continue
        stored = table.tensors[column.tensor][:, column.position]
        if column.name == "wörter":
            assert dict(zip(column.levels, column.level_counts, strict=True)) == Counter(present)
            assert [None if code < 0 else column.levels[code] for code in stored] == list(cells)
        else:
            assert [None if math.isnan(value) else value for value in stored.tolist()] == list(cells)
        missing = [row for row, cell in enumerate(cells, start=1) if cell is None]
        flaws = [Flaw(kind="missing", count=len(missing), first_rows=tuple(missing[:5]))] if missing else []
        assert list(column.flaws) == flaws
