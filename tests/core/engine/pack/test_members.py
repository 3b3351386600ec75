"""Every member of a pack tells what it tells alone: the same events, metrics, states and model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays

MLP = {"kind": "mlp", "hidden": [6], "activation": "tanh"}
SHORT = {"epochs": 4, "batch_size": 16}
ARTICLE = {"base": {"kind": "half_squared_error"}, "divergence": {"kind": "article"}}
CATEGORICAL = {"base": {"kind": "cross_entropy"}, "divergence": {"kind": "categorical"}}
FOLLOWING = {"divergence": {"kind": "inflation", "variance": {"kind": "residual"}}}
LEARNED = {"divergence": {"kind": "gaussian", "prediction_variance": "learned"}}
ALPHAS = ({"loss": {"alpha": 0.3}}, {"loss": {"alpha": 0.0}}, {"loss": {"alpha": 2.0}})
SEEDS = tuple({"training": {"seed": seed}, "loss": {"alpha": 0.1 * seed}} for seed in (1, 2, 3))
RATES = tuple({"optimizer": {"learning_rate": rate}} for rate in (0.001, 0.02, 0.02))
DECAYS = tuple({"optimizer": {"weight_decay": decay}} for decay in (0.0, 0.01, 0.3))

CLASSES = {
    "article": ({"loss": ARTICLE}, ALPHAS),
    "sample program": ({"loss": ARTICLE | {"divergence": {"kind": "sample_program"}}}, ALPHAS),
    "categorical, seeds": ({"loss": CATEGORICAL}, SEEDS),
    "convex, smoothed": (
        {"loss": CATEGORICAL | {"combine": "convex"}},
        tuple(
            {"loss": {"alpha": a}, "penalties": {"label_smoothing": s}} for a, s in ((0.1, 0.1), (0.5, 0.0), (0.0, 0.2))
        ),
    ),
    "changing alpha": (
        {"loss": CATEGORICAL},
        tuple(
            {"loss": {"alpha": a}} for a in ({"kind": "linear", "value": 1.0}, 0.2, {"kind": "cyclical", "value": 0.5})
        ),
    ),
    "rates": ({"loss": ARTICLE}, RATES),
    "schedules": (
        {"loss": ARTICLE},
        tuple(
            {"schedule": s}
            for s in ({"kind": "cosine"}, {"kind": "constant"}, {"kind": "plateau", "patience": 1, "factor": 0.5})
        ),
    ),
    "adamw": ({"loss": ARTICLE, "optimizer": {"kind": "adamw"}}, DECAYS),
    "sgd": ({"loss": ARTICLE, "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}}, DECAYS),
    "plain sgd": ({"loss": ARTICLE, "optimizer": {"kind": "sgd"}}, RATES),
    "rmsprop": ({"loss": ARTICLE, "optimizer": {"kind": "rmsprop", "centered": True, "momentum": 0.5}}, RATES),
    "adagrad": ({"loss": ARTICLE, "optimizer": {"kind": "adagrad"}}, RATES),
    "penalties": (
        {"loss": ARTICLE, "penalties": {"include_biases": True}},
        tuple({"penalties": penalty} for penalty in ({}, {"l1": 1e-3}, {"l1": 1e-2, "l2": 0.1})),
    ),
    "clipped": ({"loss": ARTICLE, "training": {"gradient_clip": 0.1}}, ALPHAS),
    "weights of classes": (
        {"loss": ARTICLE},
        ({"training": {"class_weights": "balanced"}}, {}, {"training": {"class_weights": {"0": 3.0}}}),
    ),
    "dropout, one seed": ({"loss": ARTICLE, "net": MLP | {"dropout": 0.3}}, ALPHAS),
    "dropout, seeds": ({"loss": ARTICLE, "net": MLP | {"hidden": [6, 5], "dropout": 0.3}}, SEEDS),
    # Not adam: the gradient of a bias before batch norm is 0 but for rounding, which adam makes a whole step of.
    "batch norm": ({"loss": ARTICLE, "net": MLP | {"norm": "batch"}, "optimizer": {"kind": "sgd"}}, SEEDS),
    "linear": ({"loss": CATEGORICAL, "net": {"kind": "linear"}}, ALPHAS),
    "whole epoch as one batch": ({"loss": ARTICLE, "training": {"batch_size": "full"}}, SEEDS),
    "early stopping, own lengths": (
        {
            "loss": ARTICLE,
            "training": {"epochs": 12, "early_stopping": {"patience": 2}},
            "optimizer": {"learning_rate": 0.05},
        },
        (*SEEDS, {"training": {"epochs": 3, "seed": 4}}),
    ),
    "checkpoints": (
        {"loss": ARTICLE},
        tuple(
            {"checkpoints": c}
            for c in ({"every_epochs": 1}, {"keep_best": False}, {"monitor": "val.loss", "every_epochs": 2})
        ),
    ),
    "logged steps": ({"loss": ARTICLE}, tuple({"training": {"log_every": n}} for n in (1, 3, 100))),
    "folds": ({"loss": ARTICLE}, tuple({"split": {"seed": seed}} for seed in (0, 1, 1))),
}
VALUES = {
    "variance that follows": ({"loss": FOLLOWING}, ALPHAS),
    "variance of the outputs": ({"loss": {"divergence": {"kind": "article", "variance": {"kind": "output"}}}}, ALPHAS),
    "learned variance": ({"loss": LEARNED}, ALPHAS),
    "predicted variance": (
        {"loss": {"divergence": {"kind": "gaussian", "prediction_variance": "predicted"}}},
        ({"loss": {"alpha": 0.3}}, {"loss": {"alpha": 1.0}}),
    ),
    "fixed variance": (
        {"loss": {"alpha": 0.5}},
        tuple(
            {"loss": {"divergence": {"kind": "welsch", "variance": {"kind": "fixed", "value": v}}}} for v in (0.5, 2.0)
        ),
    ),
    "folds": ({"loss": ARTICLE, "net": {"kind": "linear"}}, tuple({"split": {"seed": seed}} for seed in (0, 1, 2))),
}


def compare(members, packed, single, agree, table, document, changes, **how):
    training = SHORT | document.get("training", {})
    specs, data = members(table, {"net": MLP} | document | {"training": training}, *changes)
    found = packed(specs, data, dtype=torch.float64, **how)
    for member, (spec, rows) in enumerate(zip(specs, data, strict=True)):
        agree(found[member], single(spec, rows, dtype=torch.float64, **how))


# A program is traced for each; the rest runs with the long tests.
SOON = {
    *("sample program", "convex, smoothed", "changing alpha", "schedules", "adamw", "sgd", "penalties", "clipped"),
    *("weights of classes", "dropout, seeds", "batch norm", "early stopping, own lengths", "folds"),
    *("variance that follows", "predicted variance"),
}


def cases(table):
    return [
        pytest.param(*case, id=name, marks=() if name in SOON else pytest.mark.long) for name, case in table.items()
    ]


@pytest.mark.parametrize(("document", "changes"), cases(CLASSES))
def test_members_of_classes(members, packed, single, agree, blobs, document, changes):
    compare(members, packed, single, agree, blobs, document, changes)


@pytest.mark.parametrize(("document", "changes"), cases(VALUES))
def test_members_of_values(members, packed, single, agree, slope, document, changes):
    compare(members, packed, single, agree, slope, document, changes)


def test_a_hundred_epochs_end_at_the_same_weights(members, packed, single, agree, blobs):
    document = {"loss": ARTICLE, "training": {"epochs": 100, "batch_size": 16}}
    compare(members, packed, single, agree, blobs, document, (*SEEDS, *RATES, {"split": {"seed": 3}}))


def test_images(members, packed, single, agree):
    draw = np.random.default_rng(0)
    table = table_from_arrays(draw.integers(0, 255, (40, 6, 6, 1)).astype(np.uint8), draw.integers(0, 2, 40))
    document = {
        "task": {"input": {"kind": "image"}},
        "net": {"kind": "cnn", "channels": [3, 4], "convolutions": 1, "dropout": 0.2},
        "loss": ARTICLE,
    }
    compare(members, packed, single, agree, table, document, (*SEEDS, {"split": {"seed": 3}}))
