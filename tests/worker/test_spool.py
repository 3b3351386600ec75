"""Files under way: private, bounded, and gone when nobody needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softreg_jobs.blobs import Blob
from worker.spool import Spool


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_only_the_owner_can_look_inside(base: Path) -> None:
    spool = Spool(base)
    assert {path.stat().st_mode & 0o777 for path in (base, spool.directory, spool.directory / "datasets")} == {0o700}


def test_an_attempts_files_are_gone_afterwards_whatever_happened(base: Path) -> None:
    spool = Spool(base)

    def broken() -> None:
        with spool.attempt("job_1-1") as directory:
            (directory / "checkpoint").write_bytes(b"state")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert not (spool.directory / "job_1-1").exists()


def test_the_last_datasets_are_kept_and_older_ones_fetched_again(base: Path) -> None:
    spool = Spool(base)
    fetched: list[str] = []

    def fetch(blob: Blob, path: Path) -> None:
        fetched.append(blob.sha256)
        path.write_text(blob.sha256)

    for digest in ("a", "b", "c", "d", "a", "e", "a", "b"):
        assert spool.dataset(Blob("blob", digest, 1), fetch).read_text() == digest
    assert fetched == ["a", "b", "c", "d", "e", "b"]
    assert len(list((spool.directory / "datasets").iterdir())) == 4


def test_what_a_dead_worker_left_is_removed_and_a_living_ones_stays(base: Path) -> None:
    make = f"from pathlib import Path; from worker.spool import Spool; print(Spool(Path({str(base)!r})).directory)"
    dead = Path(subprocess.run([sys.executable, "-c", make], check=True, capture_output=True, text=True).stdout.strip())
    living = Spool(base)
    assert dead.exists(), "it is young: its owner might be about to lock it"
    for directory in (dead, living.directory):
        os.utime(directory, (0, 0))
    new = Spool(base)
    assert set(base.iterdir()) == {living.directory, new.directory}
