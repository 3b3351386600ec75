"""`softreg demo`: as an ordinary user, and its verdict."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

import softreg
from softreg import demo
from softreg.account import Account, can_enter
from softreg.errors import LocalError
from softreg.home import Home

CHECKOUT = Path(softreg.__file__).parent.parent
SUCCEEDED = {
    "id": "job_1",
    "state": "succeeded",
    "terminal": True,
    "model_id": "mdl_1",
    "error": None,
    "progress": {"step": 50, "total_steps": 50, "steps_per_second": 1234.5, "seconds_remaining": 0.0},
    "metrics": {"val.accuracy": {"last": 0.9, "best": 0.95, "best_step": 40}, "train.loss": {"last": None}},
}


class StubApi:
    """Answers like the service, with jobs in a given order."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.jobs = list(jobs)

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body == {"dataset": "sample:digits"}
        return {**SUCCEEDED, "state": "queued", "terminal": False, "progress": None, "metrics": {}}

    def job(self, job_id: str) -> dict[str, Any]:
        assert job_id == "job_1"
        return self.jobs.pop(0)

    def model(self, model_id: str) -> dict[str, Any]:
        assert model_id == "mdl_1"
        return {"metrics": {"val.accuracy": 0.95}}

    def download(self, model_id: str, name: str, target: Path) -> None:
        target.write_text(f"{name} of {model_id}")


def run_with(api: StubApi, rebuilt: float, place: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    @contextmanager
    def service(console: Console, *, keep: bool) -> Iterator[tuple[Home, StubApi]]:
        yield Home(place), api

    monkeypatch.setattr(demo, "_service", service)
    monkeypatch.setattr(demo, "_rebuild", lambda _directory: {"accuracy": rebuilt, "rows": 360})
    return demo.run_demo(keep=False)


@pytest.mark.parametrize(("rebuilt", "exit_status"), [(0.95, 0), (0.95 + 1 / 360, 1)])
def test_the_verdict_is_the_comparison(
    place: Path, monkeypatch: pytest.MonkeyPatch, rebuilt: float, exit_status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(StubApi(SUCCEEDED), rebuilt, place, monkeypatch) == exit_status
    printed = capsys.readouterr().out
    assert "val.accuracy" in printed
    assert "1,234" in printed


def test_a_failed_job_is_told_with_its_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {**SUCCEEDED, "state": "failed", "model_id": None, "error": {"message": "the loss became infinite"}}
    with pytest.raises(LocalError, match="the loss became infinite"):
        run_with(StubApi(failed), 0.95, place, monkeypatch)


def prefix_for(user: pwd.struct_passwd, place: Path) -> list[str]:
    """Words before a command that run it as `user`; the test is skipped where that cannot be.

    An interpreter or a checkout below a private directory (root's pyenv) is shown at its own path in a mount
    namespace, where everything else in that directory is absent. No permission is changed.
    """
    account = Account(user.pw_name, user.pw_uid, user.pw_gid)
    needed = [Path(sys.base_prefix), Path(sys.prefix), CHECKOUT]
    hidden = {blocked for path in needed if (blocked := first_blocked(path, account)) is not None}
    stage = place / "stage"
    script = ["set -e"]
    for number, path in enumerate(needed):
        script.append(f"mkdir -p {stage}/{number}; mount --bind {path} {stage}/{number}")
    script += [f"mount -t tmpfs -o mode=755 tmpfs {path}" for path in hidden]
    script += [f"mkdir -p {path}; mount --bind {stage}/{number} {path}" for number, path in enumerate(needed)]
    script.append('exec "$@"')
    words = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    if hidden:
        words = ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", *words]
    trial = [*words, sys.executable, "-P", "-c", "import softreg.cli"]
    if (
        shutil.which(words[0]) is None
        or subprocess.run(trial, cwd="/", capture_output=True, check=False).returncode != 0
    ):
        pytest.skip(f"the user {user.pw_name} cannot be shown the interpreter {sys.base_prefix} on this machine")
    return words


def first_blocked(path: Path, account: Account) -> Path | None:
    """The outermost directory above `path` through which the account may not pass."""
    outermost_first = [*reversed(path.parents), path]
    return next((above for above in outermost_first if not can_enter(above / "anything", account)), None)


def processes_of(uid: int) -> set[int]:
    everything = psutil.process_iter(["pid", "uids"])
    return {process.info["pid"] for process in everything if process.info["uids"].real == uid}


def test_the_demo_runs_as_an_ordinary_user_and_leaves_nothing(place: Path) -> None:
    is_root = os.geteuid() == 0
    user = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
    theirs = place / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, user.pw_uid, user.pw_gid)
    before = processes_of(user.pw_uid)
    environment = {"HOME": str(theirs), "TMPDIR": str(theirs), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*(prefix_for(user, place) if is_root else ()), sys.executable, "-P", "-m", "softreg", "demo"],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the service reported 0.9" in result.stdout
    assert list(theirs.glob("softreg*")) == []
    assert place.stat().st_mode & 0o777 == 0o755
    if is_root:
        assert processes_of(user.pw_uid) <= before
