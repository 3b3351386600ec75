"""A card of a divergence shows its curve and what was measured of it in this repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from softreg_core.spec.divergences import DivergenceSpec

KINDS = sorted(member.model_fields["kind"].default for member in get_args(get_args(DivergenceSpec)[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_divergence_is_drawn_and_measured(root: Path, kind: str) -> None:
    cards = root / "docs" / "methods"
    card = (cards / f"{kind}.md").read_text()
    assert f"]({kind}.svg)" in card
    assert (cards / f"{kind}.svg").read_text().count("<path") > 10
    rows = [row for row in json.loads((cards / "measured.json").read_text())["rows"] if row["method"] == kind]
    assert rows
    for row in rows:
        assert f"{row['base_alone']:.3f} | {row['gain']:+.4f}" in card
