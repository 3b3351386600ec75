"""No module unpickles, evaluates text or starts a shell; no room is nameless; none is long without a word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
_BUILTINS = {"__import__", "eval", "exec"}
_ROOMS = {"common", "helpers", "manager", "models", "shared", "utils"}
# One file for each resource of the API, called as in its paths; trained models are one.
_RESOURCES = {Path("api/routes"), Path("api/schemas")}
_LONGEST = 400


def _imports(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from (f"{module}.{alias.name}" for alias in names)


def _problems(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for name in _imports(node):
            if name.partition(".")[0] in _MODULES or name in {"torch.load", "torch.jit.load"}:
                yield name
        match node:
            case ast.Name(id=name) if name in _BUILTINS:
                yield name
            case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
                yield "torch.load"
            case ast.Attribute(value=ast.Name(id="os"), attr="system" | "popen" as name):
                yield f"os.{name}"
            case ast.keyword(arg="shell" | "allow_pickle" as name, value=value):
                if not (isinstance(value, ast.Constant) and value.value is False):
                    yield name


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "from torch import load",
        "import torch\ntorch.load(path)",
        "read = torch.load",
        "eval(text)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=chosen)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
    ],
)
def test_each_kind_is_found(source: str) -> None:
    assert list(_problems(ast.parse(source)))


@pytest.mark.parametrize("source", ["net.eval()", "np.load(path, allow_pickle=False)", "from softreg_core import load"])
def test_what_only_looks_like_it_is_left_alone(source: str) -> None:
    assert list(_problems(ast.parse(source))) == []


def test_nothing_is_forbidden_that_we_do(trees: dict[Path, ast.Module]) -> None:
    found = {path: problems for path, tree in trees.items() if (problems := list(_problems(tree)))}
    assert found == {}


def test_every_room_has_a_name_that_says_what_is_in_it(trees: dict[Path, ast.Module]) -> None:
    rooms = [path for path in trees if path.parent not in _RESOURCES]
    assert [path for path in rooms if _ROOMS & {part.removesuffix(".py") for part in path.parts}] == []


def test_a_long_module_says_why(root: Path, modules: list[Path]) -> None:
    silent = []
    for path in [*modules, *sorted((root / "benchmarks").rglob("*.py"))]:
        lines = path.read_text().splitlines()
        if len(lines) > _LONGEST and not any(line.startswith("# Long: ") for line in lines[:20]):
            silent.append((path.relative_to(root), len(lines)))
    assert silent == []
