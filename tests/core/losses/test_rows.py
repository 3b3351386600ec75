"""The mean over the rows that count, which every statistic and every reduction goes through."""

from __future__ import annotations

import torch

from softreg_core.losses.rows import emptied, kept_mean

VALUES = torch.tensor([[1.0, 2.0], [torch.nan, torch.inf], [4.0, 8.0]])


def test_without_weights_it_is_the_mean():
    assert kept_mean(VALUES[[0, 2]], None).tolist() == [2.5, 5.0]
    assert kept_mean(VALUES[:, 0][[0, 2]], None).item() == 2.5


def test_a_row_of_weight_zero_may_hold_anything():
    weight = torch.tensor([3.0, 0.0, 1.0], dtype=torch.float64)
    assert kept_mean(VALUES, weight).tolist() == [1.75, 3.5]
    assert kept_mean(VALUES[:, 1], weight).item() == 3.5


def test_where_no_row_counts_it_is_zero():
    assert kept_mean(VALUES, torch.zeros(3)).tolist() == [0.0, 0.0]


def test_emptied_rows_have_no_gradient():
    values = VALUES.clone().requires_grad_()
    kept = emptied(values, torch.tensor([1.0, 0.0, 2.0]))
    assert kept.tolist() == [[1.0, 2.0], [0.0, 0.0], [4.0, 8.0]]
    kept.square().sum().backward()
    assert values.grad.tolist() == [[2.0, 4.0], [0.0, 0.0], [8.0, 16.0]]
    assert emptied(values, None) is values
    assert emptied(values, torch.zeros(3), 1.0).tolist() == [[1.0, 1.0]] * 3
