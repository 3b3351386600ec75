"""Training images changed at random: what a change may be, and that it is a function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.augment import augmented
from softreg_core.data.part import Part
from softreg_core.spec.task_input import AugmentSpec


def part(pixels):
    return Part((pixels,), torch.zeros(len(pixels), dtype=torch.int64), torch.ones(len(pixels)))


@pytest.fixture
def pixels():
    return torch.arange(1, 1 + 40 * 2 * 3 * 4).remainder(251).to(torch.uint8).view(40, 2, 3, 4)


def changed(pixels, seed=0, step=0, **augment):
    found = augmented(part(pixels), AugmentSpec(**augment), seed, step)
    assert found.weight is not None
    return found.inputs[0]


def test_images_are_flipped_about_half_the_time_and_otherwise_left_alone(pixels):
    found = changed(pixels, flip_horizontal=True)
    is_flipped = [torch.equal(after, before.flip(-1)) for before, after in zip(pixels, found, strict=True)]
    is_same = [torch.equal(after, before) for before, after in zip(pixels, found, strict=True)]
    assert all(one != other for one, other in zip(is_flipped, is_same, strict=True))
    assert 10 < sum(is_flipped) < 30


def test_flips_of_both_kinds_are_independent(pixels):
    found = changed(pixels, flip_horizontal=True, flip_vertical=True)
    forms = {
        next(
            name
            for name, dimensions in (("none", ()), ("x", (-1,)), ("y", (-2,)), ("both", (-1, -2)))
            if torch.equal(after, before.flip(dimensions))
        )
        for before, after in zip(pixels, found, strict=True)
    }
    assert forms == {"none", "x", "y", "both"}


def test_shifts_are_crops_of_the_padded_image(pixels):
    found = changed(pixels, crop_padding=2)
    padded = torch.nn.functional.pad(pixels, (2, 2, 2, 2))
    places = set()
    for before, after in zip(padded, found, strict=True):
        fitting = [(y, x) for y in range(5) for x in range(5) if torch.equal(after, before[:, y : y + 3, x : x + 4])]
        places |= set(fitting[:1])
        assert fitting
    assert len(places) > 10


def test_an_augmentation_that_does_nothing_changes_nothing(pixels):
    assert torch.equal(changed(pixels), pixels)


def test_the_seed_and_the_step_decide_and_nothing_else(pixels):
    everything = {"flip_horizontal": True, "flip_vertical": True, "crop_padding": 1}
    first = changed(pixels, 3, 7, **everything)
    torch.manual_seed(1)
    np.random.default_rng().random()
    assert torch.equal(first, changed(pixels, 3, 7, **everything))
    assert not torch.equal(first, changed(pixels, 3, 8, **everything))
    assert not torch.equal(first, changed(pixels, 4, 7, **everything))
    assert torch.equal(first.float(), changed(pixels.float(), 3, 7, **everything))


def test_bytes_that_are_mixed_keep_the_scale_that_the_network_gives_bytes(pixels):
    from softreg_core.engine.step.perturb import perturbed
    from softreg_core.spec.penalties import PenaltiesSpec

    seen = perturbed(part(pixels), PenaltiesSpec(mixup=1.0), 0, 0, is_regression=False)
    (mixed,) = seen.rows.inputs
    assert mixed.dtype == torch.float32
    assert mixed.max() <= 1.0
    own = seen.share * pixels.float() / 255.0
    assert (mixed >= own - 1e-6).all()
