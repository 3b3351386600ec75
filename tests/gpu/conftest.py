"""What the tests on a GPU share. They need softreg_core and pytest alone, and no install."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.spec import TrainSpec, resolve


@pytest.fixture(autouse=True)
def _on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    torch.cuda.empty_cache()


@pytest.fixture
def ready():
    """From a table and a spec as JSON to what `train` takes."""

    def make(table, **spec):
        resolved = resolve(TrainSpec.model_validate(spec), table.report).spec
        return resolved, prepare(resolved, table)

    return make


@pytest.fixture
def blobs():
    """Three classes of twelve numbers."""

    def make(rows=300, inputs=12, classes=3):
        generator = np.random.default_rng(0)
        codes = generator.integers(0, classes, rows)
        centers = generator.normal(size=(classes, inputs))
        return table_from_arrays(centers[codes] + generator.normal(size=(rows, inputs)), codes)

    return make


@pytest.fixture
def images():
    """Two classes of images as columns of pixels, and the view that reads them so."""

    def make(rows=256, side=16):
        generator = np.random.default_rng(0)
        codes = generator.integers(0, 2, rows)
        pixels = generator.normal(size=(rows, side * side)) + 0.5 * codes[:, None]
        view = {"kind": "image", "channels": 1, "height": side, "width": side}
        return table_from_arrays(pixels, codes), {"input": view}

    return make
