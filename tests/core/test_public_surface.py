"""Kinds that specs promise, their method cards, and the root's lazy names."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

import softreg_core
from softreg_core.engine.step.optimizer import OPTIMIZERS
from softreg_core.losses.registry import BASES, DIVERGENCES
from softreg_core.nets.registry import NETS
from softreg_core.spec import loss, net, optimizer

ROOT = Path(softreg_core.__file__).parents[1]


def kinds(union):
    members = get_args(get_args(union)[0]) if get_args(union) else (union,)
    return {member.model_fields["kind"].default for member in members}


@pytest.mark.parametrize(
    ("union", "builders"),
    [
        (loss.BaseSpec, BASES),
        (loss.DivergenceSpec, DIVERGENCES),
        (net.NetSpec, NETS),
        (optimizer.OptimizerSpec, OPTIMIZERS),
    ],
    ids=["bases", "divergences", "nets", "optimizers"],
)
def test_every_kind_in_the_spec_has_a_builder_and_the_other_way_round(union, builders):
    assert kinds(union) == set(builders)


def test_every_loss_has_a_method_card_and_no_card_is_of_a_loss_that_does_not_exist():
    cards = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert cards == kinds(loss.BaseSpec) | kinds(loss.DivergenceSpec)


def test_an_unknown_name_of_the_root_is_an_attribute_error():
    with pytest.raises(AttributeError, match="lod"):
        softreg_core.lod  # noqa: B018
