"""Stored specs stay readable and keep their meaning: each file holds what a user sent and what it meant then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softreg_core.spec import TrainSpec, canonical_json, sha256_of
from softreg_core.spec.presets import article_section_3_3, article_section_4

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_old_spec_means_what_it_meant(path):
    stored = json.loads(path.read_text())
    canonical = json.dumps(stored["canonical"], sort_keys=True, separators=(",", ":"))
    spec = TrainSpec.model_validate_json(json.dumps(stored["given"]))
    assert canonical_json(spec) == canonical
    assert TrainSpec.model_validate_json(canonical) == spec


def test_the_digest_of_the_defaults_has_not_changed():
    assert sha256_of(TrainSpec()) == "ca7bf9abbc89b0178b1b021f51c5108592f95667750e18c628565777d989d2ce"


def test_equal_specs_have_equal_text_however_they_were_written():
    short = TrainSpec.model_validate({"loss": {"alpha": 1}})
    long = TrainSpec.model_validate_json(
        '{"spec_version": 1, "loss": {"divergence": {"kind": "article"}, "alpha": 1.0}}'
    )
    assert canonical_json(short) == canonical_json(long)


def test_the_article_s_runs_by_name():
    assert article_section_3_3() == TrainSpec()
    four = article_section_4()
    assert (four.loss.divergence.kind, four.net.initialization, four.optimizer.epsilon) == (
        "sample_program",
        "glorot_uniform",
        1e-7,
    )


def test_a_field_that_came_later_is_in_the_text_only_when_it_says_something():
    assert '"combine"' not in canonical_json(TrainSpec())
    convex = TrainSpec.model_validate({"loss": {"combine": "convex"}})
    assert '"combine":"convex"' in canonical_json(convex)
    assert TrainSpec.model_validate_json(canonical_json(convex)) == convex
