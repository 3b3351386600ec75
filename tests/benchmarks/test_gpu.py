"""The GPU's benchmark says where it cannot run; its sides do the same work, as a CPU can show."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu

SMALL = gpu.Sizes(rows=128, batch=64, epochs=2, is_half=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_is_no_failure(tmp_path, capsys):
    assert gpu.main(["--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no CUDA device on this machine: nothing to measure\n"
    assert not list(tmp_path.iterdir())


def test_both_sides_learn_the_same_and_the_table_says_what_was_asked():
    found = gpu.resnet(1, "cpu", SMALL, ("plain",))
    sides = {row["side"]: row for row in found if "side" in row}
    assert set(sides) == {"softreg auto", "softreg eager", "by hand, plain"}
    assert all(row["epoch_ms"] > 0 for row in sides.values())
    assert [row["asked"] for row in found if "asked" in row] == ["<= 1.15", "<= 0.25"]


def test_a_side_that_cannot_run_is_said_and_left_out(capsys):
    def fails():
        raise RuntimeError("no triton")

    found = gpu._in_turn({"one": fails, "other": lambda: gpu.Took(0.5, 1.0)}, 2)
    assert found == {"one": [], "other": [gpu.Took(0.5, 1.0)] * 2}
    assert gpu._row("job", "one", [], 10)["tier"] == "could not run"
    assert "no triton" in capsys.readouterr().err


@pytest.mark.parametrize(("tier", "kept"), [("eager", "not measured"), ("cudagraph", "yes")])
def test_a_recording_that_was_not_made_is_no_ratio(monkeypatch, tier, kept):
    took = {"cudagraph": gpu.Took(1.0, 0.1, tier), "eager": gpu.Took(4.0, 0.1, "eager")}
    monkeypatch.setattr(gpu, "small_job", lambda engine, _: (engine, None))
    monkeypatch.setattr(gpu, "ours", lambda engine, _, __: took[engine])
    assert gpu.mlp(1, "cuda")[-1]["kept"] == kept


def test_the_small_job_is_the_articles():
    spec, data = gpu.small_job("cudagraph")
    assert (spec.training.engine, spec.net.hidden, data.train.rows) == ("cudagraph", (64,), 1438)
