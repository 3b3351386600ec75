"""Every `__all__` is sorted and names what is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest


def _exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def _bound(body: list[ast.stmt], *, while_typing: bool) -> Iterator[str]:
    """The names that the statements bind; those under `if TYPE_CHECKING` only if asked for."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=inner):
                if while_typing:
                    yield from _bound(inner, while_typing=True)
            case ast.If(body=inner, orelse=other) | ast.Try(body=inner, orelse=other):
                yield from _bound([*inner, *other], while_typing=while_typing)
            case _:
                names_in = (name for name in ast.walk(node) if isinstance(name, ast.Name))
                yield from (name.id for name in names_in if isinstance(name.ctx, ast.Store))


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    group = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return group, name


@pytest.fixture(scope="module")
def exporting(trees: dict[Path, ast.Module]) -> dict[Path, list[str]]:
    """The modules that export, with what they export."""
    found = {path: _exported(tree) for path, tree in trees.items()}
    return {path: names for path, names in found.items() if names is not None}


def test_most_modules_say_what_they_export(exporting: dict[Path, list[str]], trees: dict[Path, ast.Module]) -> None:
    silent = [path for path in trees if path not in exporting and path.name not in {"__init__.py", "__main__.py"}]
    assert [path for path in silent if path.parts[0] != "migrations"] == []


def test_exports_are_sorted_and_unique(exporting: dict[Path, list[str]]) -> None:
    wrong = {path: names for path, names in exporting.items() if names != sorted(set(names), key=_order)}
    assert wrong == {}


def test_exported_names_exist(exporting: dict[Path, list[str]], trees: dict[Path, ast.Module]) -> None:
    missing = {}
    for path, names in exporting.items():
        body = trees[path].body
        # A module with `__getattr__` makes the names that it imports for typing when they are asked for.
        is_lazy = "__getattr__" in _bound(body, while_typing=False)
        if absent := set(names) - set(_bound(body, while_typing=is_lazy)):
            missing[path] = absent
    assert missing == {}
