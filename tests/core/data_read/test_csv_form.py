"""Files that are no proper CSV: each is refused with a stable reason, and with the row or column where there is one."""

from __future__ import annotations

import pytest

from softreg_core.data.formats.csv_rows import open_csv
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

REFUSED = {
    "nothing at all": (b"", "empty", None),
    "a byte order mark alone": (b"\xef\xbb\xbf", "header", None),
    "a header alone": (b"a,b\n", "no_rows", None),
    "a header without an end": (b"a,b", "no_rows", None),
    "a header and blank lines": (b"a,b\n\n\r\n", "no_rows", None),
    "a blank first line": (b"\na,b\n1,2\n", "header", None),
    "commas for a header": (b",,\n1,2,3\n", "header", None),
    "Latin-1": ("größe,b\n1,2\n".encode("latin-1"), "encoding", None),
    "a wrong byte later": (b"a,b\n1,2\n3,\xff\n", "encoding", None),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "nul", None),
    "a lone surrogate": (b"a,b\n1,\xed\xa0\x80\n", "encoding", None),
    "an overlong NUL": (b"a,b\n1,\xc0\x80\n", "encoding", None),
    "a NUL": (b"a,b\n1,2\0\n", "nul", None),
    "a NUL in quotes": (b'a,b\n1,"\0"\n', "nul", None),
    "a Parquet file": (b"PAR1\x15\x04\x15\x00\x00" + bytes(64), "nul", None),
    "a short row": (b"a,b\n1,2\n3\n", "ragged", 2),
    "a long row": (b"a,b\n1,2,3\n", "ragged", 1),
    "a trailing comma": (b"a,b\n1,2,\n", "ragged", 1),
    "a torn last line": (b"a,b,c\n1,2,3\n4,5", "ragged", 2),
    "a blank line between rows": (b"a,b\n1,2\n\n3,4\n", "ragged", 2),
    "spaces for a row": (b"a,b\n1,2\n   \n", "ragged", 2),
    "an open quote": (b'a,b\n1,2\n3,"x\n4,5\n', "torn", 2),
    "an open quote in the header": (b'a,"b\n1,2\n', "torn", None),
    "text after a quote": (b'a,b\n1,"x"y\n', "quoting", 1),
    "text after a quote in the header": (b'"a"b,c\n1,2\n', "quoting", None),
    "an odd number of quotes": (b"a,b\n1," + b'"' * 99_999 + b"\n", "torn", 1),
    "bare carriage returns": (b"a,b\r1,2\r3,4\r", "line_end", None),
    "a carriage return within a row": (b"a,b\n1,2\r3,4\n", "line_end", 1),
    "semicolons": (b"a;b;c\n1,5;2;3\n", "delimiter", None),
    "tabs": (b"a\tb\n1\t2\n", "delimiter", None),
    "a name twice": (b"a,b,a\n1,2,3\n", "duplicate_column", None),
    "a name twice but for spaces": (b"a, a\n1,2\n", "duplicate_column", None),
    "a column without a name": (b",b\n1,2\n", "column_name", None),
    "a long name": (b"a," + b"b" * 256 + b"\n1,2\n", "column_name", None),
    "a line break in a name": (b'a,"b\nc"\n1,2\n', "column_name", None),
    "an escape sequence in a name": (b"a,b\x1b[2J\n1,2\n", "column_name", None),
    "a field of 2 MiB": (b"a,b\n1," + b"x" * 2**21 + b"\n", "field_too_large", 1),
    "a quoted field of many lines": (b'a,b\n1,"' + b"\n" * 2**21 + b'"\n', "field_too_large", 1),
    "a name of 2 MiB": (b"a," + b"x" * 2**21 + b"\n1,2\n", "field_too_large", None),
    "20,000 columns": (b",".join(b"c%d" % i for i in range(20_000)) + b"\n", "too_many_columns", None),
    "a line without an end": (b"a,b\n" + b"1," * 2**23 + b"1\n", "line_too_long", None),
}


@pytest.mark.parametrize(("content", "reason", "row"), REFUSED.values(), ids=REFUSED.keys())
def test_a_malformed_file_is_refused_with_reason_and_row(csv_table, content, reason, row):
    with pytest.raises(DataError) as caught:
        csv_table(content)
    assert caught.value.reason == reason
    assert caught.value.row == row
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("limits", "reason"), [({"rows": 2}, "too_many_rows"), ({"columns": 1}, "too_many_columns")])
def test_limits_are_fields(csv_table, limits, reason):
    with pytest.raises(DataError) as caught:
        csv_table("a,b\n1,2\n3,4\n5,6\n", **limits)
    assert caught.value.reason == reason
    assert csv_table("a,b\n1,2\n3,4\n5,6\n", rows=3, columns=2).report.rows == 3


def test_the_wrong_byte_s_line_is_named(csv_table):
    with pytest.raises(DataError, match="line 3"):
        csv_table(b'a,b\n"1\n\xff",2\n')


def test_the_name_that_stands_twice_is_given(csv_table):
    with pytest.raises(DataError) as caught:
        csv_table("x,speed,speed\n1,2,3\n")
    assert caught.value.column == "speed"


def test_a_refusal_quotes_no_cell(csv_table):
    with pytest.raises(DataError) as caught:
        csv_table('a,b\n1,"secret"secret\n')
    assert "secret" not in caught.value.message


def test_rows_come_one_by_one_and_the_broken_one_is_met_in_its_turn(tmp_path):
    path = tmp_path / "many.csv"
    path.write_bytes(b"a,b\n" + b"1,2\n" * 1000 + b"3\n")
    with path.open("rb") as stream:
        _, rows = open_csv(stream, ParseLimits())
        assert next(rows) == ["1", "2"]
        with pytest.raises(DataError) as caught:
            list(rows)
    assert caught.value.row == 1001


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n\n\n",
        b"a,b\r\n1,2\r\n",
        b"\xef\xbb\xbfa,b\n1,2",
        b' a ,"b"\n1, 2 \n',
        b'a,b\n"1","2"\n',
    ],
    ids=["blank lines at the end", "CRLF", "a byte order mark and no last line end", "spaces", "quotes"],
)
def test_these_are_the_same_table(csv_table, content):
    table = csv_table(content)
    assert [column.name for column in table.report.columns] == ["a", "b"]
    assert table.tensors["numbers"].tolist() == [[1.0, 2.0]]


def test_quoted_commas_quotes_and_line_breaks_are_part_of_a_cell(csv_table):
    table = csv_table('k,n\n"a, ""b""\r\nc",1\nd,2\n')
    assert table.report.columns[0].levels == ('a, "b"\r\nc', "d")
