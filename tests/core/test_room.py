"""What a process may still take: the least of what system, container and its own limit leave."""

from __future__ import annotations

import resource

import pytest

from softreg_core import room
from softreg_core.errors import ResourceError
from softreg_core.spec.memory import in_words


def test_a_machine_has_some_memory_left():
    free = room.free_memory()
    assert free is None or free > 2**20


def test_a_container_has_what_its_limit_leaves_and_its_files_take(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_CGROUP", tmp_path)
    assert room._of_container() is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert room._of_container() is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert room._of_container() == 300
    (tmp_path / "memory.stat").write_text("anon 600\nfile 100\ninactive_file 60\nactive_file 40\n")
    assert room._of_container() == 360
    assert room.free_memory() == 360


def test_a_limit_of_addresses_counts_what_is_taken(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert room._of_address_space() is None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**50, 2**50))
    assert 2**49 < room._of_address_space() < 2**50
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert room._of_address_space() == 0


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 3_900_000_000)
    room.require_room(3_900_000_000, "this", "less")
    with pytest.raises(ResourceError, match=r"^this needs about 5\.1 GB of memory, and 3\.9 GB are free: less$"):
        room.require_room(5_100_000_000, "this", "less")
    monkeypatch.setattr(room, "free_memory", lambda: None)
    room.require_room(2**60, "this", "less")


@pytest.mark.parametrize(
    ("size", "words"), [(5.1e9, "5.1 GB"), (64e9, "64 GB"), (1.5e6, "1.5 MB"), (400e6, "400 MB"), (2000, "2 kB")]
)
def test_sizes_are_said_in_powers_of_ten(size, words):
    assert in_words(size) == words
