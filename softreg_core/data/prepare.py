"""The same preparation at prediction time as in training: from rows as people have them to tensors; torch-free.

    document = json.loads(Path("model.json").read_text())
    tensors = prepare_rows(preprocessing_of(document), [{"age": 31, "pet": "cat"}])
    session.run(None, tensors)  # of onnxruntime

`softreg_core.data.cells.RawCells` says which forms rows may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from softreg_core.data.cells import RawCells
from softreg_core.data.encode import Encoding, numbers_only
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.scaling import Scaling
from softreg_core.errors import DataError

__all__ = ["prepare_rows", "preprocessing_of"]


def prepare_rows(preprocessing: Preprocessing, rows: Any) -> dict[str, NDArray[Any]]:
    """The tensors that a model's graph takes, by name, as softreg_core.spec.inputs lists them.

    Missing cells are filled in and categories, words and pixels are encoded as they were in training. Numbers of a
    table are float64 in the user's units: the graph scales them.

    Args:
        preprocessing: of the model.
        rows: in any form that `RawCells.of` takes.

    Raises:
        DataError: the rows have another shape, or a cell is wrong, missing or unknown and no policy takes it; row
            (from 1) and column are named.
    """
    inputs = preprocessing.inputs
    arrays = inputs.arrays(RawCells.of(rows, inputs.columns))
    if inputs.kind == "table" and inputs.numbers:
        bad = np.argwhere(~np.isfinite(arrays[0]))
        if bad.size:
            row, name = int(bad[0][0]) + 1, inputs.scaling.names[int(bad[0][1])]
            raise DataError(f"column '{name}', row {row}: not a finite number", "non_finite", row, name)
    return dict(zip(inputs.shape.names, arrays, strict=True))


def preprocessing_of(document: Mapping[str, Any]) -> Preprocessing:
    """What model.json says of preparing rows, and of what outputs mean.

    Args:
        document: model.json, as `json.loads` gives it.

    Raises:
        DataError: it is no description of a model.
    """
    try:
        features, target = (_SCALING.validate_python(document[name]) for name in ("features", "target"))
        given = document.get("inputs")
        inputs = numbers_only(features or Scaling.none(())) if given is None else _ENCODING.validate_python(given)
        labels, truths = document["labels"], document.get("truths")
        return Preprocessing(
            inputs=inputs,
            target_names=tuple(document["target_names"]),
            target=target,
            labels=None if labels is None else tuple(labels),
            truths=None if truths is None else tuple((false, true) for false, true in truths),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise DataError(f"not a description of a model: {error}", "wrong_format") from error


_SCALING: TypeAdapter[Scaling | None] = TypeAdapter(Scaling | None)
_ENCODING: TypeAdapter[Encoding] = TypeAdapter(Encoding)
