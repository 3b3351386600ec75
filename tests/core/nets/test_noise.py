"""Dropout: what the masks depend on, and what they do not."""

from __future__ import annotations

import copy

import pytest
import torch

from softreg_core.nets import build_net
from softreg_core.nets.noise import Dropout, Noise, has_noise, set_noise
from softreg_core.spec import MlpSpec
from softreg_core.spec.inputs import TableShape

_SHAPE = TableShape(numbers=6)
_ROWS = torch.linspace(-1, 1, 24).view(4, 6)


@pytest.fixture
def net():
    return build_net(MlpSpec(hidden=(32, 32), dropout=0.5), _SHAPE, 2, seed=0).train()


def _pass(net, *noise):
    set_noise(net, *noise)
    return net(_ROWS)


def test_seed_step_and_pass_decide_the_masks(net):
    first = _pass(net, 3, 10)
    assert torch.equal(_pass(net, 3, 10), first)
    for other in [(4, 10), (3, 11), (3, 10, 1)]:
        assert not torch.equal(_pass(net, *other), first)


def test_masks_do_not_depend_on_earlier_passes_or_on_the_global_generator(net):
    first = _pass(net, 3, 10)
    fresh = build_net(MlpSpec(hidden=(32, 32), dropout=0.5), _SHAPE, 2, seed=0).train()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(_pass(fresh, 3, 10), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_micro_batches_of_one_step_have_other_masks(net):
    first = _pass(net, 0, 0)
    assert not torch.equal(net(_ROWS), first)


def test_layers_of_one_network_have_other_masks():
    noise = Noise()
    first, second = Dropout(0.5, noise).train(), Dropout(0.5, noise).train()
    noise.begin(7)
    assert not torch.equal(first(torch.ones(100)), second(torch.ones(100)))


def test_the_mean_is_kept_and_the_rate_is_as_said():
    layer = Dropout(0.3, Noise()).train()
    layer.noise.begin(1)
    dropped = layer(torch.ones(100_000))
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.max().item() == pytest.approx(1 / 0.7)


def test_evaluation_drops_nothing_and_needs_no_seed(net):
    net.eval()
    plain = build_net(MlpSpec(hidden=(32, 32)), _SHAPE, 2, seed=0).eval()
    assert torch.equal(net(_ROWS), plain(_ROWS))


def test_a_training_pass_without_set_noise_is_refused(net):
    with pytest.raises(RuntimeError, match="set_noise"):
        net(_ROWS)


def test_a_copy_has_a_stream_of_its_own(net):
    first = _pass(net, 3, 10)
    twin = copy.deepcopy(net)
    with pytest.raises(RuntimeError, match="set_noise"):
        twin(_ROWS)
    assert torch.equal(_pass(twin, 3, 10), first)
    set_noise(net, 3, 10)
    twin(_ROWS)
    assert torch.equal(net(_ROWS), first)


def test_a_network_without_dropout_has_no_noise(net):
    assert has_noise(net)
    assert has_noise(torch.nn.ModuleList([net]))
    assert not has_noise(build_net(MlpSpec(), _SHAPE, 2, seed=0))
    assert not has_noise(build_net(MlpSpec(dropout=0.0), _SHAPE, 2, seed=0))
