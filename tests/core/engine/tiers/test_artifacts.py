"""Programs on disk: whole or not there, ours alone, and never more bytes than they may have."""

from __future__ import annotations

import os
import threading

import pytest

from softreg_core.engine.tiers.artifacts import Artifacts, artifacts_directory


def writing(content, made=None):
    def write(path):
        path.write_bytes(content)
        if made is not None:
            made.append(path)

    return write


def test_what_was_made_is_found_by_who_comes_later(tmp_path):
    path = Artifacts(tmp_path / "cache").make("one", writing(b"code"))
    later = Artifacts(tmp_path / "cache")
    assert later.find("one") == path
    assert later.find("other") is None
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    later.make("one", writing(b"never written"))
    assert path.read_bytes() == b"code"


@pytest.mark.parametrize("damage", ["program", "facts", "half"])
def test_what_is_damaged_is_not_found_and_is_made_anew(tmp_path, damage):
    artifacts = Artifacts(tmp_path)
    path = artifacts.make("one", writing(b"code"))
    if damage == "half":
        path.unlink()
    else:
        (path if damage == "program" else path.with_suffix(".json")).write_bytes(b"{")
    assert artifacts.find("one") is None
    assert artifacts.find("one") is None
    assert artifacts.make("one", writing(b"again")).read_bytes() == b"again"


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    artifacts = Artifacts(tmp_path)

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError):
        artifacts.make("one", fail)
    assert artifacts.find("one") is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert artifacts.make("one", writing(b"code"))


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    artifacts = Artifacts(tmp_path)
    old, young = tmp_path / "making-old", tmp_path / "making-young"
    for left in (old, young):
        left.mkdir()
        (left / "torn.pt2").write_bytes(b"torn")
    os.utime(old, (0, 0))
    artifacts.make("a", lambda path: path.write_bytes(b"a"))
    assert not old.exists()
    assert young.exists()


def test_the_longest_unused_go_first(tmp_path):
    artifacts = Artifacts(tmp_path, most_bytes=25)
    for age, key in enumerate(("old", "used", "new")):
        if key == "new":
            assert artifacts.find("used")
        path = artifacts.make(key, writing(b"x" * 10))
        if key == "old":
            os.utime(path, (1, 1))
        assert age >= 0
    assert artifacts.find("old") is None
    assert artifacts.find("used")
    assert artifacts.find("new")


def test_of_two_that_want_the_same_one_makes_it(tmp_path):
    made, gate = [], threading.Barrier(2)

    def want():
        artifacts = Artifacts(tmp_path)
        gate.wait()
        artifacts.make("one", writing(b"code", made))

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Artifacts(tmp_path).find("one")
    assert len(made) == 1


def test_a_directory_that_others_can_read_is_closed_and_a_link_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    Artifacts(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o077 == 0
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(PermissionError):
        Artifacts(tmp_path / "link")


def test_the_directory_is_the_one_named_or_the_user_s_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTREG_CACHE_DIRECTORY", str(tmp_path))
    assert artifacts_directory() == tmp_path
    monkeypatch.delenv("SOFTREG_CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(artifacts_directory()) == "/somewhere/softreg"
