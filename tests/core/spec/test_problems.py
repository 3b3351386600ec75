"""A wrong spec: every problem at once, each with its pointer and the nearest valid name."""

from __future__ import annotations

import re

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
        ({"net": {"kind": "mlp", "drop": 0.5}}, "/net/drop", "unknown key"),
        (
            {"loss": {"divergence": {"kind": "artcle"}}},
            "/loss/divergence/kind",
            "did you mean 'article'",
        ),
        ({"loss": {"divergence": {"kind": "article", "varience": {}}}}, "/loss/divergence/varience", "'variance'"),
        ({"loss": {"divergence": {"kind": "cauchy", "variance": {"value": 0}}}}, "/loss/divergence/variance/value", ""),
        ({"net": {"activation": "rellu"}}, "/net/activation", "did you mean 'relu'"),
        ({"net": {"hidden": [64, 0]}}, "/net/hidden/1", "expected at least 1"),
        ({"optimizer": {"kind": "lion"}}, "/optimizer/kind", "expected one of: adam, adamw, sgd"),
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, "/optimizer", "momentum"),
        ({"training": {"epochs": "3"}}, "/training/epochs", "expected a whole number"),
        ({"training": {"epochs": True}}, "/training/epochs", "expected a whole number"),
        ({"training": {"seed": 2**63}}, "/training/seed", "expected at most 9223372036854775807"),
        ({"checkpoints": {"keep_best": 1}}, "/checkpoints/keep_best", "expected true or false"),
        ({"loss": {"alpha": -1}}, "/loss/alpha", "expected at least 0"),
        ({"loss": {"alpha": float("nan")}}, "/loss/alpha", "finite"),
        ({"loss": {"alpha": 1.0, "divergence": None}}, "/loss", "there is none"),
        (
            {"loss": {"base": {"kind": "cross_entropy"}, "divergence": {"kind": "cauchy"}}},
            "/loss",
            "half_squared_error",
        ),
        ({"split": {"train": 0.9}}, "/split", "add up to 1.1"),
        ({"resources": {"device": "gpu"}}, "/resources/device", "expected auto, cpu, cuda or cuda:N"),
        ({"spec_version": 2}, "/spec_version", "1"),
        ({"spec_version": True}, "/spec_version", "expected 1"),
        ({"spec_version": 1.0}, "/spec_version", "expected 1"),
        ({"task": {"target": "a\nb"}}, "/task/target", "expected a name without control characters"),
        ({"task": {"features": []}}, "/task/features", "expected at least 1 item"),
        ({"task": {"features": ["a", "b", "a"]}}, "/task/features", "'a' is named twice"),
        ({"task": {"target": ["a", "a"]}}, "/task/target", "'a' is named twice"),
        ({"task": {"target": ["{a}", "{a}"]}}, "/task/target", "'{a}' is named twice"),
        ({"task": {"target": ""}}, "/task/target", "expected at least 1 character"),
        ({"task": {"target": ["a", 3]}}, "/task/target/1", "expected text"),
        ({"net": {"hidden": 64}}, "/net/hidden", "expected a list"),
        ({"net": {"hidden": [1] * 33}}, "/net/hidden", "expected at most 32 items"),
        ({"net": {"activation": "Relu"}}, "/net/activation", "did you mean 'relu'"),
        ({"net": {"activation": "TANH"}}, "/net/activation", "did you mean 'tanh'"),
        ({"optimizer": {"kind": "adam", "learning_rate": 0}}, "/optimizer/learning_rate", "expected more than 0"),
        ({"optimizer": {"kind": "adam", "beta1": 1.0}}, "/optimizer/beta1", "expected less than 1"),
        ({"split": {"train": "most"}}, "/split/train", "expected a number"),
        ({"training": 3}, "/training", "expected an object"),
        ({"resources": None}, "/resources", "expected an object"),
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


@pytest.mark.parametrize(
    "document",
    [
        {"net": {"hidden": 64, "activation": 3}, "training": {"epochs": 1.5, "seed": None}, "split": []},
        {"net": {"hidden": [0] * 33}, "loss": {"alpha": "1", "divergence": 1}, "optimizer": "adam"},
        {"task": {"target": {}, "features": "x", "kind": 1}, "checkpoints": {"keep_best": "no", "every_epochs": 0}},
    ],
)
def test_messages_are_in_words_of_json_and_not_of_python(document):
    for message in problems(document).values():
        assert not re.search(r"(?i)input|valid|tuple|dict|float|integer|bool|string|instance", message), message


def test_a_fault_in_one_alternative_is_told_and_not_what_the_others_would_have_taken():
    assert problems({"task": {"target": ["a", "a"]}}) == {"/task/target": "'a' is named twice"}
    assert problems({"task": {"target": ["a", 3]}}) == {"/task/target/1": "expected text"}


def test_alternatives_of_one_place_are_joined():
    found = problems({"split": {"stratify": "yes"}})
    assert list(found) == ["/split/stratify"]
    assert "; or: " in found["/split/stratify"]


def test_pointers_escape_what_rfc_6901_escapes():
    assert json_pointer(("a/b", "c~d", 0)) == "/a~1b/c~0d/0"
    assert json_pointer(()) == ""
    assert "/net/a~1b" in problems({"net": {"a/b": 1}})


@pytest.mark.parametrize(
    ("divergence", "words"),
    [
        ({"direction": "prediction_to_target", "epsilon": 0.0}, "epsilon above 0"),
        ({"direction": "jeffreys", "epsilon": 0.0}, "epsilon above 0"),
        ({"direction": "jeffreys", "normalize": True}, "prediction_to_target only"),
    ],
)
def test_a_categorical_divergence_that_is_not_defined_is_refused(divergence, words):
    document = {"loss": {"base": {"kind": "cross_entropy"}, "divergence": {"kind": "categorical"} | divergence}}
    found = problems(document)
    assert list(found) == ["/loss/divergence"]
    assert words in found["/loss/divergence"]


@pytest.mark.parametrize(
    ("loss", "pointer", "words"),
    [
        ({"combine": "convex", "alpha": 1.0}, "/loss", "below 1"),
        ({"combine": "convex", "alpha": {"kind": "cosine", "start": 2.0, "end": 0.1}}, "/loss", "below 1"),
        ({"divergence": None, "alpha": {"kind": "linear", "value": 0.1}}, "/loss", "there is none"),
        ({"alpha": {"kind": "linera", "value": 0.1}}, "/loss/alpha/kind", "did you mean 'linear'"),
        ({"alpha": {"kind": "linear", "value": -0.1}}, "/loss/alpha/value", "at least 0"),
        ({"alpha": {"kind": "linear"}}, "/loss/alpha/value", "this key is needed"),
        ({"alpha": {"kind": "cyclical", "value": 1, "ratio": 0}}, "/loss/alpha/ratio", "more than 0"),
        ({"alpha": -1}, "/loss/alpha", "at least 0"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused_where_it_stands(loss, pointer, words):
    found = problems({"loss": loss})
    assert list(found) == [pointer]
    assert words in found[pointer]
