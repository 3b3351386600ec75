"""JSONL files: one object a line, each value of the kind that its column began with."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from softreg_core.data.request import DISTINCT_LIMIT
from softreg_core.errors import DataError


def encoded(data):
    return base64.b64encode(data).decode()


def kinds(parsed):
    return {column.name: column.kind for column in parsed.report.columns}


def flaws(parsed, name):
    column = next(column for column in parsed.report.columns if column.name == name)
    return [(flaw.kind, flaw.count, flaw.first_rows) for flaw in column.flaws]


def test_every_kind_of_value_becomes_its_column(jsonl_table, as_table, image_bytes, sound_bytes):
    pixels, samples = np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros(80, dtype=np.float32)
    row = {
        "n": 1.5,
        "b": True,
        "t": "größe 🙂",
        "s": [1, 2.5],
        "steps": [[1, 2], [3, 4], [5, 6]],
        "i": {"image": encoded(image_bytes(pixels))},
        "a": {"sound": encoded(sound_bytes(samples))},
    }
    parsed = jsonl_table([row, {**row, "b": False, "s": [7]}])
    assert kinds(parsed) == {
        "n": "numeric",
        "b": "numeric",
        "t": "category",
        "s": "sequence",
        "steps": "sequence",
        "i": "image",
        "a": "sound",
    }
    table = as_table(parsed)
    assert table.values(["n", "b"]).tolist() == [[1.5, 1.0], [1.5, 0.0]]
    assert table.column("b").levels == ("false", "true")
    assert table.texts("t", [1]) == ["größe 🙂"]
    assert [part.tolist() for part in table.sequences("s", [1, 0])] == [[[7.0]], [[1.0], [2.5]]]
    assert table.sequences("steps", [0])[0].tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert np.array_equal(table.images("i", [1])[0][0], pixels)
    assert (len(table.sounds("a", [0])[0]), table.rates("a", [0]).tolist()) == (80, [8000])
    assert (parsed.report.format, parsed.report.rows) == ("jsonl", 2)


def test_a_key_that_is_absent_or_null_is_missing_wherever_it_first_appears(jsonl_table, image_bytes):
    image = {"image": encoded(image_bytes(np.zeros((1, 1), np.uint8)))}
    parsed = jsonl_table([{"a": 1}, {}, {"a": None, "b": "x", "c": [1], "d": image, "e": None}, {"c": []}])
    assert flaws(parsed, "a") == [("missing", 3, (2, 3, 4))]
    assert flaws(parsed, "b") == flaws(parsed, "d") == [("missing", 3, (1, 2, 4))]
    # A list without steps has nothing to learn from.
    assert flaws(parsed, "c") == [("missing", 3, (1, 2, 4))]
    assert flaws(parsed, "e") == [("missing", 4, (1, 2, 3, 4))]
    assert parsed.report.warnings == ("column 'e' is empty",)


def test_a_column_that_begins_in_a_later_block_is_missing_before(jsonl_table, as_table, monkeypatch):
    monkeypatch.setattr("softreg_core.data.formats.jsonl_table._CELLS_PER_BLOCK", 4)
    names = [f"name {row}" for row in range(DISTINCT_LIMIT + 20)]
    rows = [{"n": row} for row in range(10)] + [{"n": row, "t": name, "q": [row]} for row, name in enumerate(names)]
    table = as_table(jsonl_table(rows))
    assert table.texts("t", [9, 10, len(rows) - 1]) == ["", names[0], names[-1]]
    assert table.column("t").flaws[0].count == table.column("q").flaws[0].count == 10
    assert table.column("t").kind == "text"


def test_numbers_past_all_bounds_are_counted_and_nulls_in_lists_are_not_numbers(jsonl_table):
    parsed = jsonl_table(
        b'{"a": 1e999, "s": [1, null]}\n{"a": 2, "s": [1e999]}\n{"a": 9223372036854775807, "s": [1]}\n'
    )
    assert flaws(parsed, "a") == [("non_finite", 1, (1,))]
    assert flaws(parsed, "s") == [("non_finite", 2, (1, 2))]
    assert "rounds" in parsed.report.warnings[0]


def test_few_texts_are_a_category_and_many_or_long_ones_are_kept(jsonl_table, as_table):
    many = [{"t": f"name {row}"} for row in range(DISTINCT_LIMIT + 1)]
    assert kinds(jsonl_table(many[:-1])) == {"t": "category"}
    table = as_table(jsonl_table([*many, {"t": None}, {"t": ""}]))
    assert table.column("t").kind == "text"
    assert table.texts("t", [DISTINCT_LIMIT, DISTINCT_LIMIT + 1, 0]) == [many[-1]["t"], "", "name 0"]
    assert table.column("t").flaws[0].first_rows == (DISTINCT_LIMIT + 2,)
    assert kinds(jsonl_table([{"t": "x" * 256}])) == {"t": "text"}


def test_a_mark_at_the_start_and_blank_lines_at_the_end_do_no_harm(jsonl_table):
    assert jsonl_table(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\n\n  \n').report.rows == 2


PNG_START = encoded(b"\x89PNG\r\n\x1a\n")
REFUSED = {
    "nothing": (b"", "empty", None, None),
    "blank lines alone": (b"\n\n", "empty", None, None),
    "a blank line between": (b'{"a": 1}\n\n{"a": 2}\n', "ragged", 2, None),
    "no JSON": (b'{"a": 1}\n{"a": }\n', "json", 2, None),
    "a torn line": (b'{"a": 1}\n{"a": 2', "json", 2, None),
    "NaN": (b'{"a": NaN}\n', "json", 1, None),
    "Infinity": (b'{"a": -Infinity}\n', "json", 1, None),
    "a key twice": (b'{"a": 1, "a": 2}\n', "json", 1, None),
    "digits without end": (b'{"a": ' + b"9" * 5000 + b"}\n", "json", 1, None),
    "UTF-16": ('{"a": 1}\n'.encode("utf-16"), "encoding", 1, None),
    "a list": (b"[1, 2]\n", "not_object", 1, None),
    "no keys": (b"{}\n{}\n", "no_columns", None, None),
    "depth": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested", 1, None),
    "depth of objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n", "nested", 1, None),
    "lists of lists of lists": (b'{"a": [[[1]]]}\n', "nested", 1, "a"),
    "an object": (b'{"a": {"b": 1}}\n', "nested", 1, "a"),
    "an image and more": (b'{"a": {"image": "", "b": 1}}\n', "nested", 1, "a"),
    "an image that is no text": (b'{"a": {"image": 1}}\n', "nested", 1, "a"),
    "texts in a list": (b'{"a": ["x"]}\n', "nested", 1, "a"),
    "truth values in a list": (b'{"a": [true]}\n', "nested", 1, "a"),
    "a whole number of 65 bits": (b'{"a": 1}\n{"a": 9223372036854775808}\n', "integer_range", 2, "a"),
    "a whole number of 65 bits in a list": (b'{"a": [-9223372036854775809]}\n', "integer_range", 1, "a"),
    "a text after numbers": (b'{"a": 1}\n{"a": null}\n{"a": "x"}\n', "mixed_kinds", 3, "a"),
    "a truth value after numbers": (b'{"a": 1}\n{"a": true}\n', "mixed_kinds", 2, "a"),
    "steps of different size": (b'{"a": [[1, 2], [3]]}\n', "steps", 1, "a"),
    "rows of different width": (b'{"a": [[1, 2]]}\n{"a": [[1]]}\n', "steps", 2, "a"),
    "steps without values": (b'{"a": [[], []]}\n', "steps", 1, "a"),
    "a NUL": (b'{"a": "x\\u0000y"}\n', "characters", 1, "a"),
    "half a pair": (b'{"a": "ok"}\n{"a": "\\ud800"}\n', "characters", 2, "a"),
    "half a pair in a name": (b'{"\\ud800": 1}\n', "column_name", None, None),
    "a control character in a name": (b'{"a\\u0000": 1}\n', "column_name", None, None),
    "no name": (b'{"": 1}\n', "column_name", None, None),
    "base64 that is none": (b'{"a": {"image": "!"}}\n', "base64", 1, "a"),
    "an image that is none": (b'{"a": {"image": "AAAA"}}\n', "image", 1, "a"),
    "a damaged image": (f'{{"a": {{"image": "{PNG_START}"}}}}\n'.encode(), "image", 1, "a"),
    "an image as a sound": (f'{{"a": {{"sound": "{PNG_START}"}}}}\n'.encode(), "sound", 1, "a"),
    "a long text": (b'{"a": "' + b"x" * (2**20 + 1) + b'"}\n', "field_too_large", 1, "a"),
    "a long line": (b'{"a": "' + b"x" * 2**24 + b'"}\n', "line_too_long", 1, None),
    "many columns": (json.dumps(dict.fromkeys(map(str, range(10_001)), 1)).encode(), "too_many_columns", None, None),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94", "encoding", 1, None),
}


@pytest.mark.parametrize(("content", "reason", "row", "column"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_line_is_refused_with_its_row(jsonl_table, content, reason, row, column):
    with pytest.raises(DataError) as caught:
        jsonl_table(content)
    assert (caught.value.reason, caught.value.row, caught.value.column) == (reason, row, column)


def test_more_rows_than_allowed_are_refused(jsonl_table):
    with pytest.raises(DataError) as caught:
        jsonl_table([{"a": 1}] * 3, rows=2)
    assert caught.value.reason == "too_many_rows"


def test_the_row_of_a_damaged_image_is_named(jsonl_table, image_bytes):
    good = image_bytes(np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError) as caught:
        jsonl_table([{"i": {"image": encoded(good)}}, {"i": None}, {"i": {"image": encoded(good[:-20])}}])
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("image", 3, "i")
