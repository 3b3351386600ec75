"""In float32 a member ends no further from its single run than single runs end from each other whose start was moved by
one unit in the last place: rounding is all that a pack changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from softreg_core.engine import Finished, Stopped, train, train_packed
from tests.core.conftest import _blobs

DOCUMENT = {
    "net": {"kind": "mlp", "hidden": [32]},
    "loss": {"base": {"kind": "half_squared_error"}, "divergence": {"kind": "article"}},
    "optimizer": {"learning_rate": 0.01},
    "training": {"epochs": 100, "batch_size": 16},
    "checkpoints": {"keep_best": False},
}
ALPHAS = (0.0, 0.1, 0.5, 2.0)
MOVED = 6


def weights_of(events):
    (last,) = (event for event in events if isinstance(event, Finished))
    return torch.cat([tensor.flatten() for tensor in last.model.tensors.values()])


def moved(spec, data, draw):
    """A single run that starts one unit in the last place aside, each weight up or down."""
    (*_, stopped) = train(spec, data, control=lambda: "at the start")
    assert isinstance(stopped, Stopped)
    up = {name: torch.from_numpy(draw.integers(0, 2, tensor.shape)) for name, tensor in stopped.state.model.items()}
    aside = {
        name: torch.nextafter(tensor, torch.where(up[name] > 0, torch.inf, -torch.inf).to(tensor.dtype))
        for name, tensor in stopped.state.model.items()
    }
    return weights_of(train(spec, data, resume=replace(stopped.state, model=aside)))


@pytest.mark.long
def test_members_end_no_further_from_their_single_runs_than_rounding_takes_those_from_each_other(members):
    draw = np.random.default_rng(0)
    specs, data = members(_blobs(rows=200, classes=4), DOCUMENT, *({"loss": {"alpha": alpha}} for alpha in ALPHAS))
    ends = {member: event for member, event in train_packed(specs, data) if isinstance(event, Finished)}
    of_pack, of_rounding = [], []
    for member, (spec, rows) in enumerate(zip(specs, data, strict=True)):
        alone = [weights_of(train(spec, rows)), *(moved(spec, rows, draw) for _ in range(MOVED))]
        size = alone[0].norm()
        of_rounding.append(max(float((a - b).norm() / size) for a, b in itertools.combinations(alone, 2)))
        of_pack.append(float((weights_of([ends[member]]) - alone[0]).norm() / size))
    assert max(of_rounding) > 0.0
    # One draw against the largest of many, so over all members.
    assert np.median(of_pack) <= np.median(of_rounding), (of_pack, of_rounding)
