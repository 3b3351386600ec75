"""Tables from scikit-learn and from CSV with categories and missing cells: every task, against a linear model."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from softreg_core.data.parse import read_table_file
from softreg_core.data.sample import load_sample
from tests.core.training.trained import linear_accuracy, linear_r2, trained

ROWS = 700
CITIES, SHOPS = ("Lima", "Oslo", "Rome"), ("a", "b", "c")


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """What is bought hangs on two columns together: city and shop, or whether an age is missing and the hour."""
    random = np.random.default_rng(0)
    city, shop = random.integers(0, 3, ROWS), random.integers(0, 3, ROWS)
    age, hour = random.uniform(20.0, 80.0, ROWS), random.uniform(-1.0, 1.0, ROWS)
    is_missing = random.random(ROWS) < 0.4
    columns = {
        "city": [CITIES[code] for code in city],
        "shop": [None if random.random() < 0.03 else SHOPS[code] for code in shop],
        "age": [None if gone else round(value, 1) for gone, value in zip(is_missing, age, strict=True)],
        "hour": hour.round(4).tolist(),
        "meal": np.array(("tea", "soup", "cake"))[(city + shop) % 3].tolist(),
        "late": (is_missing == (hour > 0.0)).tolist(),
        "pair": (city == shop).tolist(),
        "bill": (hour * (city - 1.0) + 0.05 * random.normal(size=ROWS)).round(4).tolist(),
        "tip": (np.abs(hour) + 0.05 * random.normal(size=ROWS)).round(4).tolist(),
    }
    path = tmp_path_factory.mktemp("tables") / "visits.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    numbers = np.array([columns["age"], columns["hour"]], dtype=float).T
    texts = np.array([columns["city"], [shop or "" for shop in columns["shop"]]], dtype=object).T
    both = np.concatenate([numbers.astype(object), texts], axis=1)
    linear = make_column_transformer(
        (SimpleImputer(add_indicator=True), [0, 1]), (OneHotEncoder(), [2, 3]), sparse_threshold=0.0
    )
    return read_table_file(path), linear.fit_transform(both), columns


FEATURES = ["city", "shop", "age", "hour"]
TRANSFORMER = {"kind": "transformer", "width": 16, "layers": 2, "dropout": 0.0}
MLP = {"kind": "mlp", "hidden": [32, 32]}
CROSS_ENTROPY = {"loss": {"base": {"kind": "cross_entropy"}}}


def document(task, net, epochs, rate, **more):
    return {
        "task": task | {"features": FEATURES, "missing": "impute"},
        "net": net,
        "optimizer": {"kind": "adam", "learning_rate": rate},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 32},
    } | more


@pytest.mark.parametrize(
    ("target", "net", "epochs", "rate"), [("meal", TRANSFORMER, 20, 0.01), ("late", MLP, 30, 0.01)]
)
def test_what_hangs_on_two_columns_together_is_told(visits, target, net, epochs, rate):
    table, linear, columns = visits
    run = trained(document({"target": target}, net, epochs, rate, **CROSS_ENTROPY), table)
    assert run["accuracy"] >= 0.9
    assert linear_accuracy(linear, columns[target], run.rows) < 0.7


def test_several_labels_are_told_by_a_transformer_of_columns(visits):
    table, linear, columns = visits
    targets = ["late", "pair"]
    run = trained(document({"kind": "multilabel", "target": targets}, TRANSFORMER, 30, 0.01), table)
    labels = np.array([columns[name] for name in targets]).T
    assert run["accuracy"] >= 0.9
    assert linear_accuracy(linear, labels, run.rows) < 0.75


@pytest.mark.parametrize("targets", [["bill"], ["bill", "tip"]])
def test_quantities_are_learned_beside_categories_and_missing_cells(visits, targets):
    table, linear, columns = visits
    run = trained(document({"target": targets}, MLP, 30, 0.01), table)
    wanted = np.array([columns[name] for name in targets]).T
    assert run["r2"] >= 0.85
    assert linear_r2(linear, wanted, run.rows) < 0.3


@pytest.mark.parametrize(("name", "floor"), [("breast_cancer", 0.94), ("iris", 0.9)])
def test_classes_of_real_tables_are_told(name, floor):
    table = load_sample(name)
    small = {"training": {"epochs": 25, "batch_size": 16}, "optimizer": {"kind": "adam", "learning_rate": 0.01}}
    run = trained({"net": {"kind": "mlp", "hidden": [16]}} | small | CROSS_ENTROPY, table)
    assert run["accuracy"] >= floor


def diabetes(seed):
    """Of five settings of l2, width, rate and epochs the best mean R2 on the validation rows of the ten splits."""
    return {
        "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "seed": seed},
        "net": {"kind": "mlp", "hidden": [16]},
        "loss": {"divergence": None},
        "penalties": {"l2": 0.1},
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "schedule": {"kind": "cosine"},
        "training": {"epochs": 20, "batch_size": 32},
        # So few rows validate that the best of twenty epochs would be one of luck.
        "checkpoints": {"keep_best": False},
    }


def test_diabetes_is_foretold_about_as_well_as_by_ridge_regression():
    table = load_sample("diabetes")
    runs = [trained(diabetes(seed), table) for seed in range(10)]
    features = table.values(runs[0].spec.task.features)
    target = table.values(["target"])[:, 0]
    ours = np.mean([run["r2"] for run in runs])
    ridge = np.mean([linear_r2(features, target, run.rows) for run in runs])
    assert ours >= ridge - 0.02
