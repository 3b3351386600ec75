"""When a job is compiled: only where that pays on this machine, and with a reason."""

from __future__ import annotations

import errno

import pytest

from softreg_core.engine import EpochEnded, Started, train
from softreg_core.engine.tiers import choose
from softreg_core.engine.tiers.artifacts import Artifacts
from softreg_core.engine.tiers.experience import Experience, Prospect, decide

HOUR = 3600.0


@pytest.mark.parametrize(
    ("prospect", "is_compiled"),
    [
        (Prospect(4_500, 4e-4, 10.0, None), False),  # two seconds of steps
        (Prospect(4_500, 4e-4, 10.0, 0.07), False),
        (Prospect(1_000_000, 4e-4, 10.0, None), True),  # 10 s of 400: 2.5 % at worst
        (Prospect(500_000, 4e-4, 10.0, None), False),  # 5 % at worst
        (Prospect(50_000, 4e-4, 10.0, 0.07), True),  # 11.4 s for 20
        (Prospect(30_000, 4e-4, 10.0, 0.07), False),
        (Prospect(100_000, 1e-1, 10.0, 0.97), False),  # nothing to gain
    ],
)
def test_it_compiles_where_the_steps_to_come_repay_it(prospect, is_compiled):
    found, reason = decide(prospect)
    assert found is is_compiled
    assert "one by one" in reason


@pytest.mark.parametrize("share", [None, 0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("steps", [10, 1_000, 30_000, 10**6])
def test_it_is_never_five_percent_slower_by_what_it_knew(steps, share):
    prospect = Prospect(steps, 4e-4, 12.0, share)
    eager = steps * 4e-4
    if decide(prospect)[0]:  # where nothing was known, at worst nothing is gained
        assert 12.0 + (1.0 if share is None else share) * eager <= 1.05 * eager


def test_what_was_measured_is_known_to_the_next_process(tmp_path):
    first = Experience(Artifacts(tmp_path))
    assert first.compile_seconds("mlp", 4) > 10.0
    assert first.compile_seconds("resnet", 64) > 100.0
    assert first.share("mlp", 4e-4) is None
    for seconds in (8.0, 9.0, 30.0):
        first.note_compile("mlp", 4, seconds)
    first.note_share("mlp", 4e-4, 0.1)
    first.note_share("mlp", 4.5e-4, 0.2)
    later = Experience(Artifacts(tmp_path))
    assert later.compile_seconds("mlp", 5) == 9.0
    assert later.compile_seconds("mlp", 40) > 100.0
    assert later.share("mlp", 4.2e-4) == 0.2
    assert later.share("mlp", 4e-2) is None
    assert later.share("cnn", 4e-4) is None


@pytest.mark.parametrize("known", ["", "[]", "{", '"soon"', '[0, -1, "x", 1e999, null]'])
def test_a_damaged_record_is_no_record(tmp_path, known):
    artifacts = Artifacts(tmp_path)
    (tmp_path / "experience.json").write_text(f'{{"compile_seconds/mlp/2": {known}}}')
    assert Experience(artifacts).compile_seconds("mlp", 4) > 10.0
    Experience(artifacts).note_compile("mlp", 4, 5.0)
    assert Experience(artifacts).compile_seconds("mlp", 4) == 5.0


def test_what_cannot_be_kept_on_a_full_disk_costs_no_program_and_leaves_nothing(tmp_path, monkeypatch):
    artifacts = Artifacts(tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(document, file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("softreg_core.engine.tiers.artifacts.json.dump", full)
    experience = Experience(artifacts)
    experience.note_share("mlp", 4e-4, 0.1)
    experience.note_compile("mlp", 4, 5.0)
    assert sorted(tmp_path.iterdir()) == before


def test_auto_takes_a_short_job_as_it_is(blobs, ready):
    started = next(iter(train(*ready(blobs, training={"epochs": 3}))))
    assert isinstance(started, Started)
    assert started.manifest.tier == "eager"
    assert "steps repay no program" in started.manifest.tier_reason


def test_auto_says_what_a_program_cannot_do(blobs, ready):
    started = next(iter(train(*ready(blobs, penalties={"mixup": 0.2}))))
    assert "mixup" in started.manifest.tier_reason


def test_auto_measures_a_longer_job_and_leaves_no_trace_in_it(blobs, ready, digest, monkeypatch):
    """The single steps that it times are undone."""
    spec, data = ready(blobs, training={"epochs": 3, "batch_size": 16})
    wanted = list(train(spec, data))[-1]
    monkeypatch.setattr(choose, "_FEW_STEPS", 0)
    assert "us repay no program" in next(iter(train(spec, data))).manifest.tier_reason
    monkeypatch.setattr(choose, "_FEW_SECONDS", 0.0)
    events = list(train(spec, data))
    assert "compiling takes about" in events[0].manifest.tier_reason
    assert digest(events[-1].model.tensors) == digest(wanted.model.tensors)
    assert events[-1].metrics == wanted.metrics


def test_auto_needs_no_compiler_and_complains_of_none(blobs, ready, monkeypatch, tmp_path):
    """Nobody asked for a program, so nobody is warned that there is none."""
    monkeypatch.setenv("SOFTREG_CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(choose, "_FEW_STEPS", 0)
    monkeypatch.setattr(choose, "_FEW_SECONDS", 0.0)
    monkeypatch.setattr(choose, "compiler_version", lambda: None)
    events = list(train(*ready(blobs, training={"epochs": 1})))
    assert "no compiler" in events[0].manifest.tier_reason
    assert not any(event.advice for event in events if isinstance(event, EpochEnded))
