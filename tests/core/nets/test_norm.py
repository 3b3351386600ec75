"""Normalisation layers against torch's."""

from __future__ import annotations

import torch
from torch import nn

from softreg_core.nets.norm import BatchNorm, LayerNorm

_X = torch.randn(6, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1


def _steps(layer, batches, **more):
    return [layer(batch, **more) for batch in batches]


def test_batch_norm_is_torch_s_in_training_and_evaluation():
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    for x in (_X, _X * 2 - 1):
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert torch.allclose(ours.eval()(_X), theirs.eval()(_X), atol=1e-6)


def test_batch_norm_with_a_mask_of_ones_is_the_one_without():
    plain, masked = BatchNorm(3), BatchNorm(3)
    ones = torch.ones(6, 1, 5, 1)
    for x in (_X, _X * 2 - 1):
        assert torch.allclose(plain(x), masked(x, ones), atol=1e-5)
    assert torch.allclose(plain.running_mean, masked.running_mean, atol=1e-6)
    assert torch.allclose(plain.running_var, masked.running_var, atol=1e-5)


def test_what_the_mask_leaves_out_does_not_matter():
    mask = torch.ones(6, 1, 5, 1)
    mask[2:, :, 3:] = 0
    first, second = BatchNorm(3), BatchNorm(3)
    other = torch.where(mask.bool(), _X, 1e3)
    assert torch.allclose(first(_X, mask) * mask, second(other, mask) * mask, atol=1e-5)
    assert torch.allclose(first.running_var, second.running_var)


def test_layer_norm_is_torch_s_over_the_channels_of_each_position():
    ours, theirs = LayerNorm(3), nn.LayerNorm(3)
    assert torch.allclose(ours(_X), theirs(_X.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), atol=1e-6)
    assert torch.equal(LayerNorm(4)(_X[0, 0]), nn.LayerNorm(4)(_X[0, 0]))
