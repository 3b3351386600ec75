"""A wrong spec: every problem at once, each with its pointer and the nearest valid name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from softreg_core.spec import TrainSpec, problems_of
from softreg_core.spec.problems import json_pointer


def problems(document):
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(document)
    return {problem.pointer: problem.message for problem in problems_of(caught.value, TrainSpec, document)}


@pytest.mark.parametrize(
    ("document", "pointer", "words"),
    [
        ({"trainig": {}}, "/trainig", "did you mean 'training'"),
        ({"training": {"epoch": 3}}, "/training/epoch", "did you mean 'epochs'"),
        ({"net": {"kind": "mlp", "dropout": 0.5}}, "/net/dropout", "unknown key"),
        (
            {"loss": {"divergence": {"kind": "artcle"}}},
            "/loss/divergence/kind",
            "did you mean 'article'",
        ),
        ({"loss": {"divergence": {"kind": "article", "varience": {}}}}, "/loss/divergence/varience", "'variance'"),
        ({"loss": {"divergence": {"variance": {"value": 2.0}}}}, "/loss/divergence/kind", "kind"),
        ({"loss": {"divergence": {"kind": "cauchy", "variance": {"value": 0}}}}, "/loss/divergence/variance/value", ""),
        ({"net": {"activation": "rellu"}}, "/net/activation", "did you mean 'relu'"),
        ({"net": {"hidden": [64, 0]}}, "/net/hidden/1", "greater than or equal to 1"),
        ({"optimizer": {"kind": "adagrad"}}, "/optimizer/kind", "expected one of: adam, sgd"),
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, "/optimizer", "momentum"),
        ({"training": {"epochs": "3"}}, "/training/epochs", "integer"),
        ({"training": {"epochs": True}}, "/training/epochs", "integer"),
        ({"training": {"seed": 2**63}}, "/training/seed", "less than"),
        ({"checkpoints": {"keep_best": 1}}, "/checkpoints/keep_best", "boolean"),
        ({"loss": {"alpha": -1}}, "/loss/alpha", "greater than or equal to 0"),
        ({"loss": {"alpha": float("nan")}}, "/loss/alpha", "finite"),
        ({"loss": {"alpha": 1.0, "divergence": None}}, "/loss", "there is none"),
        (
            {"loss": {"base": {"kind": "cross_entropy"}, "divergence": {"kind": "cauchy"}}},
            "/loss",
            "half_squared_error",
        ),
        ({"split": {"train": 0.9}}, "/split", "add up to 1.1"),
        ({"resources": {"device": "gpu"}}, "/resources/device", "pattern"),
        ({"spec_version": 2}, "/spec_version", "1"),
        ({"task": {"target": "a\nb"}}, "/task/target", "pattern"),
        ({"task": {"features": []}}, "/task/features", "at least 1"),
    ],
)
def test_a_problem_has_a_pointer_and_says_what_would_be_right(document, pointer, words):
    found = problems(document)
    assert pointer in found, found
    assert words in found[pointer]


def test_all_problems_come_at_once_one_per_place():
    found = problems(
        {"trainig": {}, "net": {"hidden": [0], "activation": "x"}, "training": {"epochs": 0}, "task": {"target": 3}}
    )
    assert set(found) == {"/trainig", "/net/hidden/0", "/net/activation", "/training/epochs", "/task/target"}


def test_alternatives_of_one_place_are_joined():
    found = problems({"split": {"stratify": "yes"}})
    assert list(found) == ["/split/stratify"]
    assert "; or: " in found["/split/stratify"]


def test_pointers_escape_what_rfc_6901_escapes():
    assert json_pointer(("a/b", "c~d", 0)) == "/a~1b/c~0d/0"
    assert json_pointer(()) == ""
    assert "/net/a~1b" in problems({"net": {"a/b": 1}})
