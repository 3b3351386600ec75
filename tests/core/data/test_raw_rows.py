"""Rows at prediction time, in whatever form a user has them, become the tensors of training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from softreg_core.data.cells import RawCells
from softreg_core.data.encode.image import ImageFit
from softreg_core.data.encode.sequence import SequenceFit
from softreg_core.data.encode.sound import SoundFit
from softreg_core.data.encode.table import TableFit
from softreg_core.data.encode.text import TextFit
from softreg_core.data.prepare import prepare_rows, preprocessing_of
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.errors import DataError
from softreg_core.spec.inputs import SoundShape

COLUMNS = {"age": [1.0, 3.0, 5.0], "pet": ["cat", "dog", "cat"]}


@pytest.fixture
def preprocessing():
    fit = TableFit(("age", "pet"), ("pet",), fill="mean", unknown="other", indicated=["age"])
    fit.add(RawCells.of(COLUMNS, ("age", "pet")))
    return Preprocessing(fit.finish(), ("target",), None, ("no", "yes"))


@pytest.mark.parametrize(
    "rows",
    [
        {"age": [2, None], "pet": ["dog", "emu"], "more": [1, 2]},
        [{"age": 2, "pet": "dog"}, {"pet": "emu"}],
        [[2, "dog"], [None, "emu"]],
        [(2, "dog"), (float("nan"), "emu")],
        np.array([[2, "dog"], [None, "emu"]], dtype=object),
        {"age": np.array([2.0, np.nan]), "pet": np.array(["dog", "emu"])},
    ],
    ids=["columns", "objects", "lists", "tuples", "array", "arrays"],
)
def test_every_form_of_rows_gives_the_same_tensors(preprocessing, rows):
    tensors = prepare_rows(preprocessing, rows)
    assert {name: tensor.dtype.name for name, tensor in tensors.items()} == {"numbers": "float64", "codes": "int64"}
    assert tensors["numbers"].tolist() == [[2.0, 0.0], [3.0, 1.0]]
    assert tensors["codes"].tolist() == [[2], [0]]


@pytest.mark.parametrize(
    ("rows", "reason", "row", "column"),
    [
        ({"age": [1]}, "no_such_column", None, "pet"),
        ({"age": [1, 2], "pet": ["cat"]}, "lengths_differ", None, None),
        ([[1, "cat", 2]], "wrong_shape", None, None),
        (np.zeros((2, 3)), "wrong_shape", None, None),
        ([{"age": "old", "pet": "cat"}], "wrong_kind", 1, "age"),
        ([{"age": 1, "pet": "cat"}, {"age": float("inf"), "pet": "cat"}], "non_finite", 2, "age"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(preprocessing, rows, reason, row, column):
    with pytest.raises(DataError) as caught:
        prepare_rows(preprocessing, rows)
    assert (caught.value.reason, caught.value.row, caught.value.column) == (reason, row, column)


def test_cells_are_spelled_as_the_report_spells_them():
    cells = RawCells.of({"x": [3.0, 3, "3", True, None]}, ("x",))
    codes, levels = cells.categories("x")
    assert (codes.tolist(), levels) == ([0, 0, 0, 1, -1], ("3", "true"))


def test_images_may_be_arrays_or_pillow_s(tmp_path):
    colours = Image.new("RGB", (3, 2), (10, 20, 30))
    gray = Image.new("L", (3, 2), 7)
    found = RawCells.of([colours, gray, np.zeros((2, 3)), np.full((2, 3), 255)], ("x",)).images("x")
    assert [image.shape for image in found] == [(3, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3)]
    assert found[0][:, 0, 0].tolist() == [10, 20, 30]
    assert [image.dtype.name for image in found] == ["uint8", "uint8", "float64", "uint8"]


@pytest.mark.parametrize("cell", ["x.png", b"bytes", np.zeros(3), np.zeros((2, 2, 2)), None])
def test_what_is_no_image_is_refused_by_row(cell):
    with pytest.raises(DataError) as caught:
        RawCells({"x": [np.zeros((2, 2)), cell]}).images("x")
    assert (caught.value.row, caught.value.column) == (2, "x")


def test_a_saved_model_says_all_that_prepares_its_rows(ready, slope, tmp_path):
    from softreg_core.engine import fit
    from softreg_core.export import save_model

    spec, data = ready(slope, training={"epochs": 1})
    save_model(fit(spec, data).model, tmp_path, {})
    preprocessing = preprocessing_of(json.loads((tmp_path / "model.json").read_text()))
    tensors = prepare_rows(preprocessing, slope.values(["features.0", "features.1", "features.2"]))
    assert list(tensors) == ["numbers"]
    scaled = data.preprocessing.features.apply(tensors["numbers"])
    assert np.array_equal(preprocessing.features.apply(tensors["numbers"]), scaled)
    with pytest.raises(DataError):
        preprocessing_of({"features": None})


CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
ROWS = (
    CELLS
    | st.lists(st.fixed_dictionaries({"x": CELLS}), max_size=3)
    | st.fixed_dictionaries({"x": CELLS})
    | st.lists(st.tuples(CELLS), max_size=3)
    | st.lists(st.tuples(CELLS, st.integers(-1, 9000)), max_size=3)
)
ENCODINGS = {
    "numbers": (lambda: TableFit(("x",), fill="mean"), [1.0, 2.0]),
    "categories": (lambda: TableFit(("x",), ("x",)), ["a", "b"]),
    "image": (lambda: ImageFit(("x",), 1, 2, 2), [np.zeros((1, 2, 2), dtype=np.uint8)]),
    "text": (lambda: TextFit("x", "word", 5, 5, lowercase=True), ["a b"]),
    "sound": (
        lambda: SoundFit("x", SoundShape(rate=8000, longest=100, window=16, hop=8, mels=4)),
        [(np.zeros(50, dtype=np.float32), 8000)],
    ),
    "sequence": (lambda: SequenceFit("x", 2, 4), [np.zeros((3, 2))]),
}


@pytest.mark.parametrize("kind", list(ENCODINGS))
@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_whatever_a_user_sends_becomes_tensors_or_a_typed_error(kind, rows):
    begin, training = ENCODINGS[kind]
    fit = begin()
    fit.add(RawCells({"x": training}))
    preprocessing = Preprocessing(fit.finish(), ("target",), None, ("no", "yes"))
    try:
        tensors = prepare_rows(preprocessing, rows)
    except DataError:
        return
    assert tuple(tensors) == preprocessing.shape.names
