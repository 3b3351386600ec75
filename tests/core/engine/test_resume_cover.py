"""Whatever a run is made of, an interruption at any step changes no bit of weights, optimiser and metrics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from softreg_core.engine import CheckpointDue, EpochEnded, Finished, Stopped, load_state, save_state, train
from softreg_core.nets.registry import NETS
from tests.core.engine.cover import COVERED, FACTORS, pairwise, run_of

FAST = 12
COVER = pairwise()


def stop_after(steps):
    answers = itertools.chain([None] * steps, itertools.repeat("stop"))
    return lambda: next(answers)


def fingerprint(events, digest):
    """All that a run gave, up to the last bit."""
    finished = events[-1]
    states = [event.state for event in events if isinstance(event, CheckpointDue)]
    last = states[-1]
    return {
        "weights": digest(finished.model.tensors),
        "state": digest(last.model, last.loss, last.optimizer, last.more),
        "numbers": last.numbers,
        "metrics": repr(sorted(finished.metrics.items())),
        "epochs": [repr(sorted(event.metrics.items())) for event in events if isinstance(event, EpochEnded)],
        "end": (finished.step, finished.epoch, finished.best_step, finished.reason),
    }


def interrupted(spec, data, step, folder):
    """As the service does it: stopped after `step` steps, every state through a file, then gone on with."""
    first = list(train(spec, data, control=stop_after(step)))
    if isinstance(first[-1], Finished):
        return first
    assert isinstance(first[-1], Stopped)
    states = [event.state for event in first if isinstance(event, CheckpointDue)] + [first[-1].state]
    for state in states:
        save_state(state, folder / f"{state.step}.safetensors")
    state = load_state(folder / f"{first[-1].state.step}.safetensors")
    best = None if state.best is None else load_state(folder / f"{state.best.step}.safetensors")
    torch.manual_seed(0)  # another process: it knows nothing of what a generator has given before
    second = list(train(spec, data, resume=state, resume_best=best))
    return [*first[:-1], *second]


def check(row, steps, digest, folder):
    spec, data = run_of(row)
    spoil(spec, data)
    wanted = fingerprint(list(train(spec, data)), digest)
    for step in steps:
        got = fingerprint(interrupted(spec, data, step, folder), digest)
        assert {key for key in wanted if got[key] != wanted[key]} == set(), f"{row}, step {step}"


def spoil(spec, data):
    """Where bad steps are left out, there is one in each epoch."""
    if spec.training.on_nonfinite == "skip" and data.train.inputs[0].is_floating_point():
        data.train.inputs[0][3] = torch.inf


def test_every_kind_of_network_is_in_the_cover():
    assert set(NETS) <= COVERED


def test_every_two_choices_occur_together():
    seen = {(a, row[a], b, row[b]) for row in COVER for a, b in itertools.combinations(FACTORS, 2)}
    for a, b in itertools.combinations(FACTORS, 2):
        assert {(a, x, b, y) for x in FACTORS[a] for y in FACTORS[b]} <= seen


@pytest.mark.parametrize("index", range(FAST))
def test_an_interruption_changes_no_bit(index, digest, tmp_path):
    row = COVER[index * len(COVER) // FAST]
    check(row, [int(np.random.default_rng(index).integers(1, 16))], digest, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(COVER)))
def test_three_interruptions_of_every_run_of_the_cover_change_no_bit(index, digest, tmp_path):
    assert 3 * len(COVER) >= 100
    steps = np.random.default_rng(100 + index).choice(16, 3, replace=False)
    check(COVER[index], steps.tolist(), digest, tmp_path)


def diverging():
    """A rate that is too high: steps are undone in the run's middle."""
    row = {"net": "mlp", "optimizer": "sgd", "schedule": "constant", "loss": "article", "noise": "none"}
    spec, data = run_of(row | {"control": "rewind"})
    update = {
        "optimizer": spec.optimizer.model_copy(update={"learning_rate": 300.0, "momentum": 0.0, "nesterov": False}),
        "net": spec.net.model_copy(update={"hidden": ()}),
        "loss": spec.loss.model_copy(update={"alpha": 0.0}),
    }
    return spec.model_copy(update=update), data


def test_interruptions_around_a_rewind_change_no_bit(digest, tmp_path):
    spec, data = diverging()
    whole = list(train(spec, data))
    rewinds = [event.metrics["train.rewinds"] for event in whole if isinstance(event, EpochEnded)]
    assert rewinds[-1] > rewinds[-2] > 0.0
    wanted = fingerprint(whole, digest)
    for step in range(1, 16):
        assert fingerprint(interrupted(spec, data, step, tmp_path), digest) == wanted, step


def test_a_run_that_stopped_early_is_not_gone_on_with(digest, tmp_path):
    row = {"net": "mlp", "optimizer": "adam", "schedule": "constant", "loss": "article", "noise": "none"}
    spec, data = run_of(row | {"control": "early stopping"})
    stopping = spec.training.early_stopping.model_copy(update={"patience": 1, "min_delta": 1e9})
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"early_stopping": stopping})})
    whole = list(train(spec, data))
    assert (whole[-1].reason, whole[-1].epoch) == ("early_stopped", 2)
    last = [event.state for event in whole if isinstance(event, CheckpointDue)][-1]
    best = next(event.state for event in whole if isinstance(event, CheckpointDue) and event.is_best)
    again = list(train(spec, data, resume=last, resume_best=best))
    assert [type(event) for event in again][1:] == [Finished]
    assert again[-1].reason == "early_stopped"


def _global_noise(inputs, deviation, seed, step):
    return tuple(x + deviation * torch.randn_like(x) if x.is_floating_point() else x for x in inputs)


def _global_mixing(alpha, rows, seed, step):
    from softreg_core.penalties import Mixing

    return Mixing(float(torch.rand(())), torch.randperm(rows))


def _global_order(seed, epoch, rows):
    return torch.randperm(rows).numpy()


def _global_masks(self, like):
    return torch.rand(like.shape)


BROKEN = {
    "order": ("softreg_core.engine.batches.epoch_order", _global_order),
    "noise": ("softreg_core.engine.step.perturb.noisy", _global_noise),
    "mixing": ("softreg_core.engine.step.perturb.mixing_of", _global_mixing),
    "masks": ("softreg_core.nets.noise.Noise.uniform", _global_masks),
}


@pytest.mark.parametrize("what", BROKEN)
def test_with_random_numbers_of_a_global_generator_the_bits_differ(what, digest, tmp_path, monkeypatch):
    """Guards the tests above: they would see noise whose state no checkpoint has."""
    noise = {"noise": "input noise", "mixing": "mixup"}.get(what, "none")
    row = {"net": "mlp with dropout", "optimizer": "adam", "schedule": "constant", "loss": "article", "noise": noise}
    spec, data = run_of(row | {"control": "none"})
    path, broken = BROKEN[what]
    assert fingerprint(interrupted(spec, data, 6, tmp_path), digest) == fingerprint(list(train(spec, data)), digest)
    monkeypatch.setattr(path, broken)
    torch.manual_seed(0)
    wanted = fingerprint(list(train(spec, data)), digest)
    torch.manual_seed(0)
    assert fingerprint(list(train(spec, data)), digest) == wanted, "the global generator is all that differs"
    torch.manual_seed(0)
    assert fingerprint(interrupted(spec, data, 6, tmp_path), digest) != wanted
