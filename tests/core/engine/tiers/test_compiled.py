"""The compiled tier: the run of single steps, by another way.

One small program is compiled for all tests of this file; those that need others are long.
"""

from __future__ import annotations

import itertools
import logging
import tempfile

import pytest
import torch

from softreg_core.engine import EpochEnded, Finished, Started, StepLogged, Stopped, train
from softreg_core.engine.tiers import compile as compiling
from softreg_core.engine.tiers import compiled
from softreg_core.errors import NonFiniteLossError

DOCUMENT = {
    "net": {"kind": "mlp", "hidden": [6], "dropout": 0.2},
    "loss": {"base": {"kind": "half_squared_error"}, "alpha": 0.3, "divergence": {"kind": "article"}},
    "training": {"epochs": 3, "batch_size": 16, "class_weights": "balanced", "gradient_clip": 0.5},
    "penalties": {"l2": 0.01},
}


def document_of(engine="compiled", **blocks):
    """`DOCUMENT` with some values replaced, by block."""
    training = DOCUMENT["training"] | {"engine": engine}
    found = DOCUMENT | {"training": training}
    return found | {name: found.get(name, {}) | block for name, block in blocks.items()}


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def assert_same(found, wanted, rel=1e-4):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=rel, abs=1e-5, nan_ok=True), name


def stop_after(calls):
    answers = itertools.chain([None] * calls, itertools.repeat("stop"))
    return lambda: next(answers)


@pytest.fixture
def in_calls_of(monkeypatch):
    """So many steps in each call."""

    def of(steps):
        monkeypatch.setattr(compiled.Compiled, "most_steps", steps)

    return of


@pytest.fixture
def no_compiler(monkeypatch):
    """Whoever compiles fails the test."""

    def refuse(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiling, "_compile", refuse)


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory):
    """The directory for temporary files, of these tests alone."""
    directory = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(directory))
        yield directory


def test_it_tells_and_delivers_what_single_steps_do(blobs, ready, temporary):
    blocks = {"training": {"log_every": 3, "early_stopping": {"patience": 1, "monitor": "val.loss", "min_delta": 1.0}}}
    ours, theirs = (
        list(train(*ready(blobs, **document_of(engine, **blocks)), keep_step_losses=True))
        for engine in ("compiled", "eager")
    )
    assert (ours[0].manifest.tier, theirs[0].manifest.tier) == ("compiled", "eager")
    assert "asked for" in ours[0].manifest.tier_reason
    for kind in (StepLogged, EpochEnded, Finished):
        assert [event.step for event in of_kind(ours, kind)] == [event.step for event in of_kind(theirs, kind)]
        for mine, other in zip(of_kind(ours, kind), of_kind(theirs, kind), strict=True):
            assert_same(mine.metrics, other.metrics)
    assert (ours[-1].reason, ours[-1].epoch) == ("early_stopped", 2)
    for mine, other in zip(of_kind(ours, EpochEnded), of_kind(theirs, EpochEnded), strict=True):
        assert mine.step_losses == pytest.approx(other.step_losses, rel=1e-4)
    for name, tensor in theirs[-1].model.tensors.items():
        torch.testing.assert_close(ours[-1].model.tensors[name], tensor, rtol=1e-4, atol=1e-6)
    # Another user could have put headers there, which would become part of the program.
    assert not [path for path in temporary.rglob("*") if path.suffix in (".h", ".gch", ".cpp", ".so")]


def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(blobs, ready, digest, in_calls_of):
    spec, data = ready(blobs, **document_of())
    whole = list(train(spec, data))
    in_calls_of(1)
    for calls in range(0, 12, 3):
        *events, stopped = train(spec, data, control=stop_after(calls))
        assert isinstance(stopped, Stopped)
        assert stopped.state.step == calls
        best = [event.state for event in events if type(event).__name__ == "CheckpointDue" and event.is_best]
        again = list(train(spec, data, resume=stopped.state, resume_best=best[-1] if best else None))
        assert digest(again[-1].model.tensors) == digest(whole[-1].model.tensors)
        assert again[-1].metrics == whole[-1].metrics


def test_a_run_that_auto_compiled_goes_on_compiled(blobs, ready):
    spec, data = ready(blobs, **document_of())
    *_, stopped = train(spec, data, control=stop_after(0))
    assert stopped.state.numbers["engine/compiled"] == 1.0
    auto, _ = ready(blobs, **document_of("auto"))
    started = next(iter(train(auto, data, resume=stopped.state)))
    assert started.manifest.tier == "compiled"
    assert "interrupted" in started.manifest.tier_reason


def test_other_numbers_and_other_rows_need_no_other_program(blobs, ready, no_compiler, programs):
    blocks = {
        "loss": {"alpha": {"kind": "linear", "value": 0.7}},
        "optimizer": {"learning_rate": 0.02},
        "training": {"epochs": 2, "seed": 5, "class_weights": {"0": 3.0}},
        "schedule": {"kind": "cosine"},
        "penalties": {"l2": 0.2},
    }
    ours, theirs = (list(train(*ready(blobs, **document_of(engine, **blocks)))) for engine in ("compiled", "eager"))
    assert ours[0].manifest.tier == "compiled"
    for mine, other in zip(of_kind(ours, EpochEnded), of_kind(theirs, EpochEnded), strict=True):
        assert_same(mine.metrics, other.metrics)


def test_a_loss_that_is_not_finite_is_named_as_by_single_steps(blobs, ready):
    found = []
    for engine in ("compiled", "eager"):
        spec, data = ready(blobs, **document_of(engine))
        data.train.inputs[0][7] = 1e30  # the square of what the network says there is more than float32 holds
        with pytest.raises(NonFiniteLossError) as caught:
            list(train(spec, data))
        found.append((caught.value.step, caught.value.term, caught.value.epoch, str(caught.value)))
    assert found[0] == found[1]


def test_a_program_that_was_damaged_on_disk_is_made_anew(blobs, ready, programs, monkeypatch, caplog):
    spec, data = ready(blobs, **document_of())
    list(train(spec, data))
    monkeypatch.setattr(compiling, "_LOADED", type(compiling._LOADED)())
    kept = list((programs / "programs").glob("*.pt2"))
    assert kept
    whole = {path: path.read_bytes() for path in kept}
    for path in kept:
        path.write_bytes(path.read_bytes()[:-100])
    made = []
    # The compiler's output of before: this is about the file, and another compile would take ten seconds.
    monkeypatch.setattr(
        compiling, "_compile", lambda _, path: made.append(path.write_bytes(whole[_at(programs, path)]))
    )
    with caplog.at_level(logging.WARNING):
        started = next(iter(train(spec, data)))
    assert started.manifest.tier == "compiled"
    assert len(made) == 1
    assert "is damaged" in caplog.text


def _at(programs, path):
    return programs / "programs" / path.name


def test_without_a_compiler_the_steps_are_taken_one_by_one_with_a_warning(blobs, ready, monkeypatch, tmp_path):
    monkeypatch.setenv("SOFTREG_CACHE_DIRECTORY", str(tmp_path / "fresh"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiling, "_LOADED", type(compiling._LOADED)())
    events = list(train(*ready(blobs, **document_of(training={"epochs": 1}))))
    assert of_kind(events, Started)[0].manifest.tier == "eager"
    (advice,) = of_kind(events, EpochEnded)[0].advice
    assert (advice.code, advice.pointer) == ("other_engine", "/training/engine")
    assert "g++" in advice.message
    assert of_kind(events, Finished)


def test_a_directory_of_another_user_is_not_used(blobs, ready, monkeypatch, tmp_path):
    taken = tmp_path / "taken"
    taken.symlink_to(tmp_path)  # what another user could have put there
    monkeypatch.setenv("SOFTREG_CACHE_DIRECTORY", str(taken))
    started = next(iter(train(*ready(blobs, **document_of()))))
    assert started.manifest.tier == "eager"
    assert "is not a directory of this user" in started.manifest.tier_reason
