"""Convolutions with channels side by side in memory: the same numbers, and nothing of it in what is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, build, load_state, loop, save_state, train
from softreg_core.engine.tiers.advance import Chosen
from softreg_core.engine.tiers.recorded import Recorded

VIEW = {"kind": "image", "channels": 1, "height": 8, "width": 8}
NETS = [{"kind": "cnn", "channels": [4, 6]}, {"kind": "cnn", "norm": "layer"}, {"kind": "resnet", "width": 3}]


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 3, 60)
    return table_from_arrays(generator.normal(size=(60, 64)) + 0.3 * codes[:, None], codes)


def job(images, ready, net, optimizer="adam"):
    return ready(
        images,
        task={"input": VIEW},
        net=net,
        training={"epochs": 3, "batch_size": 8, "engine": "eager"},
        optimizer={"kind": optimizer},
        checkpoints={"every_epochs": 1, "keep_best": False},
    )


@pytest.mark.parametrize("net", NETS)
def test_the_layout_changes_no_number_beyond_rounding(images, ready, monkeypatch, net):
    spec, data = job(images, ready, net)
    found = [event.step_losses for event in train(spec, data, keep_step_losses=True) if isinstance(event, EpochEnded)]
    monkeypatch.setattr(build, "laid_out", lambda net: net)
    usual = [event.step_losses for event in train(spec, data, keep_step_losses=True) if isinstance(event, EpochEnded)]
    assert found[0][:3] == pytest.approx(usual[0][:3], rel=1e-4)
    assert np.mean(found[-1]) == pytest.approx(np.mean(usual[-1]), rel=0.02)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_stored_state_has_the_usual_order_and_resumes_bit_for_bit(images, ready, tmp_path, optimizer):
    spec, data = job(images, ready, NETS[0])
    spec = spec.model_copy(
        update={"optimizer": type(spec).model_validate({"optimizer": {"kind": optimizer}}).optimizer}
    )
    whole = list(train(spec, data))
    (first, *_) = (event.state for event in whole if isinstance(event, CheckpointDue))
    tensors = [*first.model.values(), *first.optimizer.values(), *whole[-1].model.tensors.values()]
    assert all(tensor.is_contiguous() for tensor in tensors)
    save_state(first, tmp_path / "state")
    (again,) = (e for e in train(spec, data, resume=load_state(tmp_path / "state")) if isinstance(e, Finished))
    for name, tensor in again.model.tensors.items():
        assert torch.equal(tensor, whole[-1].model.tensors[name])


def test_recorded_steps_have_it_too(images, ready, monkeypatch):
    """With a fake for the recorder alone; see test_recorded."""

    def called(work, back):
        back()
        work()
        return work

    spec, data = job(images, ready, NETS[2])
    eager = [event.step_losses for event in train(spec, data, keep_step_losses=True) if isinstance(event, EpochEnded)]
    monkeypatch.setattr(loop, "choose", lambda job: Chosen("cudagraph", "asked for", Recorded(job, called)))
    found = [event.step_losses for event in train(spec, data, keep_step_losses=True) if isinstance(event, EpochEnded)]
    for one, other in zip(found, eager, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
