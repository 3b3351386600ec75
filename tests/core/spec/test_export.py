"""The formats of a model are a closed set, and a spec that names none is the spec that it was."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from softreg_core.spec import TrainSpec, canonical_json


@pytest.mark.parametrize("given", [{}, {"export": ["safetensors"]}, {"export": []}])
def test_the_default_leaves_the_canonical_form_as_it_was(given):
    assert TrainSpec.model_validate(given).export == ("safetensors",)
    assert "export" not in canonical_json(TrainSpec.model_validate(given))


def test_equal_wishes_are_equal_specs():
    wishes = [["pt2", "onnx"], ["onnx", "safetensors", "pt2"]]
    specs = [TrainSpec.model_validate({"export": wish}) for wish in wishes]
    assert specs[0] == specs[1]
    assert specs[0].export == ("safetensors", "onnx", "pt2")
    assert TrainSpec.model_validate_json(canonical_json(specs[0])) == specs[0]


@pytest.mark.parametrize("wish", [["onnx", "onnx"], ["pickle"], "onnx", ["safetensors"] * 2, None])
def test_other_formats_and_repetitions_are_refused(wish):
    with pytest.raises(ValidationError):
        TrainSpec.model_validate({"export": wish})
