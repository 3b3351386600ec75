"""Estimates of a network's work against what torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from softreg_core.evaluate.measure import EVALUATION_ROWS, evaluation_rows
from softreg_core.nets import build_net
from softreg_core.spec.inputs import ImageShape, SequenceShape, TableShape
from softreg_core.spec.net import CnnSpec, MlpSpec, RnnSpec, TransformerSpec
from softreg_core.spec.widths import step_count
from softreg_core.spec.work import work_per_row
from tests.core.nets.catalog import CASES, batch

# Torch counts no recurrent kernels; and a linear layer over one-hot rows and shares multiplies nothing.
_COUNTED = [case for case in CASES if case[1].kind not in ("rnn", "linear")]


@pytest.mark.parametrize(("spec", "shape"), [case[1:] for case in _COUNTED], ids=[case[0] for case in _COUNTED])
def test_multiplications_are_about_those_that_torch_counts(spec, shape):
    net, inputs = build_net(spec, shape, 3, seed=0).eval(), batch(shape, rows=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    counted = counter.get_total_flops() / 2
    if spec.kind == "transformer":  # nor the products of attention on a CPU
        counted += spec.layers * 2 * step_count(shape) ** 2 * spec.width
    assert work_per_row(spec, shape, 3).multiplications == pytest.approx(counted, rel=0.15)


def test_a_recurrent_network_works_step_by_step():
    spec, shape = RnnSpec(hidden=8, embedding=5), SequenceShape(channels=5, longest=7)
    assert work_per_row(spec, shape, 3).multiplications == 7 * 2 * 4 * 8 * (5 + 8)


def test_large_maps_and_long_rows_are_evaluated_a_few_at_a_time():
    small = build_net(MlpSpec(), TableShape(numbers=64), 10, seed=0)
    digits = build_net(CnnSpec(), ImageShape(channels=1, height=8, width=8), 10, seed=0)
    photos = build_net(CnnSpec(), ImageShape(channels=3, height=224, width=224), 10, seed=0)
    attention = build_net(TransformerSpec(), SequenceShape(channels=3, longest=8192), 10, seed=0)
    rows = [evaluation_rows(net) for net in (small, digits, photos, attention)]
    assert rows[:2] == [EVALUATION_ROWS] * 2
    assert 4 <= rows[2] <= 64
    assert rows[3] == 1
    assert evaluation_rows(torch.nn.Linear(2, 2)) == EVALUATION_ROWS
