"""Small datasets and runs that the tests of the core share."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.spec import TrainSpec, resolve


@pytest.fixture(scope="session", autouse=True)
def programs(tmp_path_factory):
    """Where compiled programs of these tests are kept: not where the user's are."""
    directory = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTREG_CACHE_DIRECTORY", str(directory))
        yield directory


def _blobs(rows=70, inputs=5, classes=3, seed=0):
    """Classes that overlap a little, so that training has something to do for some epochs."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, classes, rows)
    centers = generator.normal(size=(classes, inputs))
    return table_from_arrays(centers[codes] + 0.7 * generator.normal(size=(rows, inputs)), codes)


def _slope(rows=60, inputs=3, outputs=1, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, inputs))
    target = 50.0 + 10.0 * features @ generator.normal(size=(inputs, outputs)) + generator.normal(size=(rows, outputs))
    return table_from_arrays(features, target)


@pytest.fixture
def blobs():
    return _blobs()


@pytest.fixture
def slope():
    return _slope()


@pytest.fixture
def two_slopes():
    return _slope(outputs=2)


@pytest.fixture
def ready():
    """From a table and a spec as JSON to what `train` takes: the resolved spec and the prepared data."""

    def make(table, **spec):
        resolved = resolve(TrainSpec.model_validate(spec), table.report).spec
        return resolved, prepare(resolved, table)

    return make


@pytest.fixture
def digest():
    """Of weights and optimiser together: equal only if every bit is."""

    def of(*tensors_by_name):
        sha = hashlib.sha256()
        for tensors in tensors_by_name:
            for name in sorted(tensors):
                sha.update(name.encode())
                sha.update(tensors[name].numpy().tobytes())
        return sha.hexdigest()

    return of
