"""The sample datasets."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.datasets import load_breast_cancer, load_digits

from softreg_core.data.formats.sklearn_samples import read_sample
from softreg_core.data.parse import parse_sample
from softreg_core.data.request import SAMPLES
from softreg_core.errors import DataError

ROWS = {"digits": 1797, "diabetes": 442, "breast_cancer": 569, "wine": 178, "iris": 150}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_read_and_ends_with_its_target(name):
    report = read_sample(name).report
    assert report.format == "sample"
    assert report.rows == ROWS[name]
    assert report.columns[-1].name == "target"
    assert all(column.kind == "numeric" for column in report.columns[:-1])
    assert not any(column.flaws for column in report.columns)


def test_digits_comes_through_the_child_as_scikit_learn_has_it(tmp_path):
    report = parse_sample("digits", tmp_path / "table")
    numbers = load_file(tmp_path / "table")["numbers"]
    digits = load_digits()
    assert np.array_equal(numbers[:, :64], digits.data)
    assert np.array_equal(numbers[:, 64], digits.target)
    assert report.columns[0].name == "pixel_0_0"
    assert report.columns[-1].levels == tuple("0123456789")


def test_named_classes_are_a_category_with_sorted_levels():
    table = read_sample("breast_cancer")
    target = table.report.columns[-1]
    truth = load_breast_cancer()
    assert target.levels == ("benign", "malignant")
    labels = [target.levels[code] for code in table.tensors["codes"][:, 0]]
    assert labels == truth.target_names[truth.target].tolist()


def test_a_quantity_is_numeric():
    target = read_sample("diabetes").report.columns[-1]
    assert (target.kind, target.minimum, target.maximum) == ("numeric", 25.0, 346.0)


@pytest.mark.parametrize("name", ["mnist", "", "../digits", "digits "])
def test_another_name_is_refused_before_a_child_starts(tmp_path, monkeypatch, name):
    monkeypatch.setattr("subprocess.Popen", None)
    with pytest.raises(DataError) as caught:
        parse_sample(name, tmp_path / "table")
    assert caught.value.reason == "unknown_sample"
