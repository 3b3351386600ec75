"""A spec as a user writes it, a table, and what comes of the two; and what a linear model makes of the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softreg_core.data.parse import read_table_file
from softreg_core.data.partition import SplitRows
from softreg_core.data.splits import split_rows
from softreg_core.data.tabular import prepare
from softreg_core.engine import TrainResult, fit
from softreg_core.spec import TrainSpec, resolve

SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""The best epoch is chosen on validation rows and judged on test rows, which nothing was chosen by."""


@dataclass(frozen=True)
class Trained:
    """A run, and the rows of each part of it."""

    spec: TrainSpec
    result: TrainResult
    rows: SplitRows

    def __getitem__(self, metric):
        """Of the test rows."""
        return self.result.metrics[f"test.{metric}"]


def trained(document, table):
    spec = resolve(TrainSpec.model_validate({"split": SPLIT} | document), table.report).spec
    return Trained(spec, fit(spec, prepare(spec, table)), split_rows(spec, table))


def linear_accuracy(features, labels, rows):
    """Of logistic regression on the same test rows; for several labels the mean of one model for each."""
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return float(np.mean([linear_accuracy(features, column, rows) for column in labels.T]))
    model = make_pipeline(StandardScaler(with_mean=isinstance(features, np.ndarray)), LogisticRegression(max_iter=1000))
    return model.fit(features[rows.train], labels[rows.train]).score(features[rows.test], labels[rows.test])


def linear_r2(features, target, rows):
    """Of ridge regression, its strength chosen by leaving one training row out, on the same test rows."""
    model = make_pipeline(
        StandardScaler(with_mean=isinstance(features, np.ndarray)), RidgeCV(alphas=np.logspace(-2, 4, 13))
    )
    return model.fit(features[rows.train], target[rows.train]).score(features[rows.test], target[rows.test])


def table_of_parquet(path, columns):
    """The table that is read from such a Parquet file."""
    pa.parquet.write_table(pa.table(columns), path)
    return read_table_file(path)
