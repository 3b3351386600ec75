"""A pack's events, member by member, and those of the single runs."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch

from softreg_core.data.tabular import prepare
from softreg_core.engine import Progress, train, train_packed
from softreg_core.spec import TrainSpec, resolve


@pytest.fixture
def members():
    """From a table, a spec as JSON and each member's changes to specs and data; equal splits share their data."""

    def make(table, document, *changes):
        specs, data, known = [], [], {}
        for change in changes:
            blocks = {
                name: {**document.get(name, {}), **change.get(name, {})} for name in document.keys() | change.keys()
            }
            spec = resolve(TrainSpec.model_validate(blocks), table.report).spec
            key = (spec.split, spec.task, spec.preprocess)
            if key not in known:
                known[key] = prepare(spec, table)
            specs.append(spec)
            data.append(known[key])
        return specs, data

    return make


def told(events):
    """By member, without signs of life."""
    found = defaultdict(list)
    for member, event in events:
        if not isinstance(event, Progress):
            found[member].append(event)
    return found


@pytest.fixture
def packed():
    """Events of a pack by member."""
    return lambda specs, data, **how: told(train_packed(specs, data, **how))


@pytest.fixture
def single():
    """Events of one run."""
    return lambda spec, data, **how: [event for event in train(spec, data, **how) if not isinstance(event, Progress)]


@pytest.fixture
def agree():
    """Whether two lists of events tell the same but for rounding, down to every tensor of every state."""

    def check(mine, others, rtol=1e-9):
        assert [type(event) for event in mine] == [type(event) for event in others]
        for one, other in zip(mine, others, strict=True):
            for name in ("metrics", "step", "epoch", "reason", "best_step", "is_best"):
                if hasattr(other, name):
                    _agree(getattr(one, name), getattr(other, name), rtol)
            if hasattr(other, "state"):
                _states(one.state, other.state, rtol)
            if hasattr(other, "model"):
                _tensors(one.model.tensors, other.model.tensors, rtol)
                _tensors(one.model.loss, other.model.loss, rtol)

    return check


def _agree(one, other, rtol):
    if not isinstance(other, dict):
        assert one == other
        return
    assert one.keys() == other.keys()
    assert one == pytest.approx(other, rel=rtol, abs=rtol, nan_ok=True)


def _tensors(mine, others, rtol):
    assert mine.keys() == others.keys()
    for name, tensor in others.items():
        torch.testing.assert_close(mine[name], tensor, rtol=rtol, atol=rtol)


def _states(one, other, rtol):
    assert (one.step, one.epoch, one.step_in_epoch) == (other.step, other.epoch, other.step_in_epoch)
    for group in ("model", "loss", "optimizer", "more"):
        _tensors(getattr(one, group), getattr(other, group), rtol)
    _agree(one.numbers, other.numbers, rtol)
    _agree(one.loss_sums, other.loss_sums, rtol)
