"""CONTRIBUTING.md and the decisions name files and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

_PARTS = ["Context.", "Decision.", "Consequences.", "Enforced by"]


def _paths(text: str) -> set[str]:
    """What stands in backticks and looks like a path of the project; `<resource>` stands for any name."""
    quoted = re.findall(r"`([\w./<>-]+)`", text)
    return {
        path.replace("<resource>", "*") for path in quoted if "/" in path or re.search(r"\.(md|toml|txt|yml)$", path)
    }


@pytest.mark.parametrize(
    "document",
    ["CONTRIBUTING.md", "docs/adr/0001-folders-and-import-rules.md", "docs/adr/0002-python-versions.md"],
)
def test_every_path_exists(root: Path, document: str) -> None:
    text = (root / document).read_text()
    paths = _paths(text) | {
        str((root / document).parent.relative_to(root) / link) for link in re.findall(r"\]\((?!http)([^)]+)\)", text)
    }
    above = [root, root / "tests", root / "docs"]  # the table names what is in these two in short
    missing = [path for path in paths if not any(list(place.glob(path.rstrip("/"))) for place in above)]
    assert paths
    assert missing == []


def test_every_make_target_exists(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`make ([\w-]+)`", text)) | set(re.findall(r"^make ([\w-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "lint", "demo"} <= named <= targets


def test_decisions_are_numbered_in_order_and_have_the_four_parts(root: Path) -> None:
    decisions = sorted((root / "docs/adr").glob("*.md"))
    for number, path in enumerate(decisions, start=1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number:04} "), path
        assert re.findall(r"^\*\*(.*?)\*\*", text, re.MULTILINE) == _PARTS, path


def test_the_commit_hooks_are_the_checks_and_fetch_nothing(root: Path) -> None:
    repositories = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipe = (root / "Makefile").read_text()
    for hook in hooks:
        program, *options = hook["entry"].removeprefix(".venv/bin/").split()
        command = " ".join([program, *(option for option in options if not option.startswith("--"))])
        assert f"$(BIN)/{command}" in recipe
