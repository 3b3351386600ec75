"""What a benchmark writes says on which machine it was, and whether a bound was kept."""

from __future__ import annotations

import json

from benchmarks.report import asked, table, write


def test_the_file_has_the_machine_the_command_and_the_rows(tmp_path, capsys):
    rows = [{"side": "ours", "steps_per_s": 2570.4}, {"side": "peer", "steps_per_s": None}]
    write("speed", rows, command="make bench-speed", notes=["medians of 5"], folder=tmp_path)
    found = json.loads((tmp_path / "speed.json").read_text())
    assert found["rows"] == rows
    assert found["command"] == "make bench-speed"
    assert {"processor", "cores", "memory_gib", "system", "python", "torch", "load_before", "date"} <= set(
        found["machine"]
    )
    page = (tmp_path / "speed.md").read_text()
    assert "| ours | 2,570 |\n| peer |  |" in page
    assert "- medians of 5" in page
    assert capsys.readouterr().out.strip() == page.strip()


def test_rows_of_other_columns_are_another_table():
    assert table([{"a": 1}, {"a": 0.12345}, {"b": "x|y"}]) == (
        "| a |\n| --- |\n| 1 |\n| 0.1235 |\n\n| b |\n| --- |\n| x\\|y |"
    )


def test_a_bound_that_is_missed_is_said_to_be():
    assert asked("eager over Keras", ">= 5", 5.2)["kept"] == "yes"
    assert asked("eager over Keras", ">= 5", 4.9)["kept"] == "NO"
    assert asked("soft over plain", "<= 1.15", 1.2)["kept"] == "NO"
    assert asked("first step", "<= 1.5", None, "s") == {
        "what": "first step",
        "asked": "<= 1.5 s",
        "reached": None,
        "kept": "not measured",
    }
