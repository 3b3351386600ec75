"""Recorded steps against eager ones, on the GPU itself; bits that repeat; memory that runs out."""

from __future__ import annotations

import pytest
import torch

from softreg_core.engine import CheckpointDue, EpochEnded, Finished, train
from softreg_core.engine.manifest import deterministic
from softreg_core.engine.room import memory_of
from softreg_core.errors import ResourceError

# Torch warns of each operation that has no deterministic algorithm, and goes on.
pytestmark = pytest.mark.filterwarnings("ignore:.*determinis")
CUDA = torch.device("cuda")


def losses(events):
    return [event.step_losses for event in events if isinstance(event, EpochEnded)]


def ended(events):
    return next(event for event in events if isinstance(event, Finished))


def same(one, other):
    return all(torch.equal(one.model.tensors[name], tensor) for name, tensor in other.model.tensors.items())


OPTIONS = {
    "adam": {},
    "sgd": {"optimizer": {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.01}},
    "adamw-schedule": {"optimizer": {"kind": "adamw"}, "schedule": {"kind": "cosine"}},
    "rmsprop": {"optimizer": {"kind": "rmsprop"}},
    "adagrad": {"optimizer": {"kind": "adagrad"}},
    "dropout": {"net": {"hidden": [32, 32], "dropout": 0.3}},
    "batch-norm": {"net": {"norm": "batch"}},
    "clip": {"training": {"gradient_clip": 0.5}},
    "divergence": {
        "loss": {"base": {"kind": "cross_entropy"}, "alpha": 0.3, "divergence": {"kind": "categorical"}},
        "penalties": {"l2": 0.01, "label_smoothing": 0.1},
    },
    "alpha": {
        "loss": {
            "base": {"kind": "cross_entropy"},
            "alpha": {"kind": "linear", "value": 0.5, "warm_up": 0.5},
            "divergence": {"kind": "categorical"},
        }
    },
}


@pytest.mark.parametrize("case", OPTIONS)
def test_recorded_steps_are_those_of_the_eager_engine(blobs, ready, case):
    found = {}
    for engine in ("eager", "cudagraph"):
        training = {"epochs": 6, "batch_size": 32, "engine": engine} | OPTIONS[case].get("training", {})
        spec, data = ready(blobs(), **(OPTIONS[case] | {"training": training}))
        found[engine] = list(train(spec, data, device="cuda", keep_step_losses=True))
        assert ended(found[engine]).model.manifest.tier == engine, ended(found[engine]).model.manifest.tier_reason
    assert losses(found["cudagraph"])[0] == pytest.approx(losses(found["eager"])[0], rel=1e-4, abs=1e-5)
    assert losses(found["cudagraph"])[-1] == pytest.approx(losses(found["eager"])[-1], rel=0.01, abs=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["cnn", "resnet"])
def test_recorded_convolutions_too(images, ready, kind, precision):
    table, task = images()
    found = {}
    for engine in ("eager", "cudagraph"):
        training = {"epochs": 3, "batch_size": 64, "engine": engine, "precision": precision}
        spec, data = ready(table, task=task, net={"kind": kind}, training=training)
        found[engine] = list(train(spec, data, device="cuda", keep_step_losses=True))
        assert ended(found[engine]).model.manifest.tier == engine, ended(found[engine]).model.manifest.tier_reason
    is_half = precision == "bfloat16"
    assert losses(found["cudagraph"])[0] == pytest.approx(losses(found["eager"])[0], rel=0.1 if is_half else 1e-2)


def test_small_steps_are_recorded_of_themselves(blobs, ready):
    spec, data = ready(blobs(), training={"epochs": 40, "batch_size": 32})
    manifest = ended(train(spec, data, device="cuda")).model.manifest
    assert manifest.tier == "cudagraph", manifest.tier_reason


@pytest.mark.parametrize("engine", ["eager", "cudagraph"])
@pytest.mark.parametrize("net", [{"dropout": 0.2}, {"norm": "batch"}])
def test_a_run_repeats_and_resumes_bit_for_bit(blobs, ready, engine, net):
    spec, data = ready(
        blobs(),
        net=net,
        training={"epochs": 4, "batch_size": 32, "engine": engine},
        checkpoints={"every_epochs": 2, "keep_best": False},
    )
    whole = list(train(spec, data, device="cuda"))
    assert same(ended(train(spec, data, device="cuda")), ended(whole))
    first = next(event.state for event in whole if isinstance(event, CheckpointDue))
    assert same(ended(train(spec, data, device="cuda", resume=first)), ended(whole))


def test_a_convolution_repeats_bit_for_bit_with_deterministic_algorithms(images, ready):
    table, task = images()
    training = {"epochs": 2, "batch_size": 64, "engine": "eager"}
    spec, data = ready(table, task=task, net={"kind": "resnet"}, training=training)
    once, again = (ended(train(spec, data, device="cuda")) for _ in range(2))
    assert same(once, again)
    assert once.model.manifest.is_deterministic
    with deterministic(CUDA):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.fixture
def _little_memory():
    """Less than a batch needs, of the memory that is free now; given back after the test."""
    total = torch.cuda.get_device_properties(0).total_memory
    taken = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (taken + 900 * 2**20) / total))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("_little_memory")
def test_a_batch_that_does_not_fit_is_taken_in_halves(blobs, ready):
    """About 1.3 GB in one part, and 0.8 GB in two."""
    rows = 20_000
    training = {"epochs": 2, "batch_size": rows, "engine": "eager"}
    net = {"hidden": [1024] * 12}
    spec, data = ready(blobs(rows=25_000), net=net, training=training, split={"validation": 0.1, "test": 0.1})
    finished = ended(train(spec, data, device="cuda"))
    assert finished.model.manifest.parts == 2


@pytest.mark.usefixtures("_little_memory")
def test_a_batch_that_cannot_be_parted_ends_with_the_numbers(blobs, ready):
    training = {"epochs": 1, "batch_size": 20_000, "engine": "eager"}
    net = {"hidden": [1024] * 12, "norm": "batch"}
    spec, data = ready(blobs(rows=25_000), net=net, training=training)
    with pytest.raises(ResourceError, match="norm 'batch' takes statistics over the whole batch"):
        list(train(spec, data, device="cuda"))


def test_a_run_that_cannot_fit_is_refused_before_it_begins(blobs, ready, monkeypatch):
    spec, data = ready(blobs(), net={"hidden": [512]})
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (140 * 2**20, 2**40))
    torch.cuda.empty_cache()
    wide, _ = ready(blobs(), net={"hidden": [4096, 4096]})
    with pytest.raises(ResourceError, match=r"training needs about .* on cuda: .* are free"):
        list(train(wide, data, device="cuda"))
    assert list(train(spec, data, device="cuda"))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "resnet", "transformer"])
def test_a_run_takes_about_as_much_memory_as_is_said(blobs, images, ready, kind):
    if kind in ("cnn", "resnet"):
        table, task = images(rows=2048, side=32)
        spec, data = ready(table, task=task, net={"kind": kind}, training={"epochs": 1, "batch_size": 512})
    else:
        net = {"kind": kind, "hidden": [1024, 1024]} if kind == "mlp" else {"kind": kind}
        spec, data = ready(blobs(rows=8192, inputs=32), net=net, training={"epochs": 1, "batch_size": 2048})
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"engine": "eager"})})
    said = memory_of(spec, data, CUDA).total
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    list(train(spec, data, device="cuda"))
    taken = torch.cuda.max_memory_allocated() - before
    # cuBLAS and cuDNN take workspaces of their own through torch.
    assert taken / 2.5 - 64 * 2**20 < said < 2.5 * taken
