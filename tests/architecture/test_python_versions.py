"""The sources are valid on every Python that pyproject.toml names, as far as such an interpreter is on this machine."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_CHECK = """
import importlib, json, sys, warnings

warnings.simplefilter("error")
request = json.load(sys.stdin)
problems = []
for path in request["files"]:
    try:
        with open(path, encoding="utf-8") as file:
            compile(file.read(), path, "exec", dont_inherit=True)
    except (SyntaxError, SyntaxWarning, DeprecationWarning) as error:
        problems.append(f"{path}: {error!r}")
for module, name in request["names"]:
    try:
        if name is not None and not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")
        importlib.import_module(module)
    except (ImportError, DeprecationWarning) as error:
        problems.append(f"{module}.{name}: {error!r}")
json.dump({"version": list(sys.version_info[:2]), "problems": problems}, sys.stdout)
"""


def _candidates(version: str) -> list[str]:
    """Programs that may be this Python: on the PATH, or installed by pyenv but not chosen there."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return [*filter(None, [shutil.which(name)]), *map(str, sorted(pyenv.glob(f"versions/{version}*/bin/{name}")))]


def _interpreter(version: str) -> str:
    for program in _candidates(version):
        outcome = subprocess.run([program, "-c", ""], capture_output=True, check=False)
        if outcome.returncode == 0:
            return program
    pytest.skip(f"no Python {version} that runs")


def _standard_names(trees: dict[Path, ast.Module]) -> list[tuple[str, str | None]]:
    """What the sources take from the standard library: (module, None) or (module, name)."""
    names: set[tuple[str, str | None]] = set()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {(alias.name, None) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {(node.module, alias.name) for alias in node.names}
    standard = sys.stdlib_module_names
    return sorted((entry for entry in names if entry[0].partition(".")[0] in standard), key=str)


def test_the_floor_and_the_checked_versions_are_those_of_the_project(project: dict[str, Any]) -> None:
    named = re.findall(r"Python :: (3\.\d+)", str(project["project"]["classifiers"]))
    assert named == ["3.11", "3.12", "3.13"]
    assert project["project"]["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_it_compiles_and_finds_its_standard_library(
    version: str, modules: list[Path], trees: dict[Path, ast.Module]
) -> None:
    request = {"files": [str(path) for path in modules], "names": _standard_names(trees)}
    program = sys.executable if sys.version_info[:2] == tuple(map(int, version.split("."))) else _interpreter(version)
    # -I: nothing of this environment; -B: no bytecode of another version beside the sources.
    outcome = subprocess.run(
        [program, "-I", "-B", "-c", _CHECK], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    assert ".".join(map(str, found["version"])) == version
    assert found["problems"] == []
