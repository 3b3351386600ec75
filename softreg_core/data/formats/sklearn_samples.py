"""The sample datasets, read from scikit-learn's own files; torch-free, and scikit-learn only when one is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from softreg_core.data.formats.parsed import CategoryColumn, NumericColumn, ParsedTable, parsed_table

__all__ = ["read_sample"]


def read_sample(name: str) -> ParsedTable:
    """A sample by its name in `SAMPLES`: scikit-learn's feature names, and the column `target` last.

    The target is a category where scikit-learn names its classes (iris, wine, breast_cancer), else numbers.
    """
    from sklearn import datasets

    loaders = {
        "digits": datasets.load_digits,
        "diabetes": datasets.load_diabetes,
        "breast_cancer": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "iris": datasets.load_iris,
    }
    bunch = loaders[name]()
    columns: list[NumericColumn | CategoryColumn] = [
        NumericColumn(str(feature), np.asarray(bunch.data[:, index], dtype=np.float64))
        for index, feature in enumerate(bunch.feature_names)
    ]
    columns.append(_target(bunch))
    return parsed_table(columns, file_format="sample", rows=len(bunch.data))


def _target(bunch: Any) -> NumericColumn | CategoryColumn:
    names = np.asarray(bunch.get("target_names", ()))
    if names.dtype.kind != "U":
        return NumericColumn("target", np.asarray(bunch.target, dtype=np.float64))
    levels, new_code = np.unique(names, return_inverse=True)
    return CategoryColumn("target", new_code[bunch.target].astype(np.int32), tuple(map(str, levels)))
