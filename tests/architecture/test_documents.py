"""The documents name files and commands that exist, and the README's program does what it says."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
DOCUMENTS = ["CONTRIBUTING.md", *(str(path.relative_to(_ROOT)) for path in sorted(_ROOT.glob("docs/adr/*.md")))]
_PARTS = ["Context.", "Decision.", "Consequences.", "Enforced by"]


def _paths(text: str) -> set[str]:
    """What stands in backticks and looks like a path of the project; `<resource>` stands for any name."""
    quoted = re.findall(r"`([\w./<>-]+)`", text)
    return {
        path.replace("<resource>", "*") for path in quoted if "/" in path or re.search(r"\.(md|toml|txt|yml)$", path)
    }


@pytest.mark.parametrize("document", DOCUMENTS)
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


def test_the_readme_s_program_prints_what_it_says(root: Path, tmp_path: Path) -> None:
    text = (root / "README.md").read_text()
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if ">>>" not in block]
    (call,) = re.findall(r"`(build_loss\(.*?)`", text)
    (fields,) = re.findall(r"`LossParts\((.*?)\)`", text)
    program += f"""
import torch
from softreg_core.losses import build_loss

prediction, target = torch.zeros(5, 1), torch.ones(5, 1)
parts = {call}
print(parts._fields, {{part.shape for part in parts}})
"""
    outcome = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    trained, parts = outcome.stdout.splitlines()
    (said,) = re.findall(r"#(.*)", program)
    # Another processor rounds otherwise, and training amplifies it.
    assert math.isclose(float(trained.split()[0]), float(said.split()[0]), abs_tol=0.02)
    assert parts == f"{tuple(fields.split(', '))} {{torch.Size([5])}}"
