"""Which directory may be the home of a service, and what it remembers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from softreg.cli import app
from softreg.home import Home, default_home


def softreg(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("command", ["up", "status", "down"])
@pytest.mark.parametrize("path", ["", "FILE", "FILE/below", "~nobody-of-this-name"])
def test_a_path_that_cannot_be_a_home_is_refused_in_one_sentence(place: Path, command: str, path: str) -> None:
    (place / "FILE").write_text("mine")
    home = path.replace("FILE", str(place / "FILE"))
    code, printed = softreg(command, "--home", home, *(("--port", "0") if command == "up" else ()))
    assert code == 1
    assert printed.startswith("Error: ")
    assert printed.count("\n") == 1
    assert (place / "FILE").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a place where nobody can make a directory")
def test_a_place_where_no_directory_can_be_made_is_refused(place: Path) -> None:
    code, printed = softreg("up", "--home", "/proc/softreg", "--port", "0")
    assert code == 1
    assert printed.startswith("Error: /proc/softreg cannot be the service's home: ")


def test_a_directory_full_of_other_things_is_no_home(place: Path) -> None:
    (place / "thesis.tex").touch()
    code, printed = softreg("up", "--home", str(place))
    assert code == 1
    assert "not softreg's" in printed
    assert ([path.name for path in place.iterdir()], mode(place)) == (["thesis.tex"], 0o755)


def test_the_default_home_follows_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_home() == Path("/home/someone/.local/share/softreg")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_home() == Path("/data/softreg")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/softreg")


def test_a_record_survives_a_torn_write(place: Path) -> None:
    home = Home(place / "home")
    home.prepare()
    (place / "home" / "state.draft").write_text("{")
    assert home.read() is None
    (place / "home" / "state.json").touch()  # what a loss of power may leave
    assert home.read() is None
