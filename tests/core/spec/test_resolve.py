"""Spec meets dataset: what `auto` becomes, and what is refused before anything is queued."""

from __future__ import annotations

import pytest

from softreg_core.data.report import ColumnReport, DatasetReport, Flaw
from softreg_core.errors import SpecError
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.inputs import TableShape


def numeric(name, **facts):
    return ColumnReport(name=name, kind="numeric", tensor="numbers", position=0, **facts)


def classes(name, count, **facts):
    levels = tuple(str(level) for level in range(count))
    return numeric(name, integral=True, distinct=count, levels=levels, **facts)


PET = ColumnReport(
    name="pet", kind="category", tensor="codes", position=0, distinct=2, levels=("cat", "dog"), level_counts=(50, 50)
)
REMARK = ColumnReport(name="remark", kind="text")


def report(*columns, rows=100):
    return DatasetReport(format="csv", rows=rows, columns=columns)


PEOPLE = report(numeric("age"), numeric("wage"), REMARK, PET)


def resolved(document, of=PEOPLE):
    return resolve(TrainSpec.model_validate(document), of)


def refusals(document, of=PEOPLE):
    with pytest.raises(SpecError) as caught:
        resolved(document, of)
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_auto_becomes_the_last_column_and_every_other_number():
    resolution = resolved({})
    spec = resolution.spec
    assert (spec.task.kind, spec.task.target, spec.task.features) == ("classification", ("pet",), ("age", "wage"))
    assert (spec.split.stratify, spec.preprocess.target, spec.checkpoints.monitor) == (True, "none", "val.accuracy")
    assert (resolution.shape, resolution.outputs, resolution.labels) == (TableShape(numbers=2), 2, ("cat", "dog"))
    assert tuple(resolution.sizes) == (80, 20, 0)
    assert resolution.total_steps == 300
    assert resolution.parameters == 2 * 64 + 64 + 64 * 2 + 2
    assert any("remark" in advice.message for advice in resolution.advice)


def test_a_resolved_spec_resolves_to_itself():
    spec = resolved({}).spec
    assert resolve(TrainSpec.model_validate_json(spec.model_dump_json()), PEOPLE).spec == spec


OWN_TEXTS = ColumnReport(
    name="review",
    kind="category",
    tensor="codes",
    position=0,
    distinct=60,
    levels=tuple(f"review {row}" for row in range(60)),
    level_counts=(1,) * 60,
)


def test_few_short_texts_are_read_by_a_network_of_texts_and_pointed_out_to_others():
    of = report(OWN_TEXTS, numeric("stars"), PET, rows=60)
    read = resolved({"net": {"kind": "rnn"}}, of)
    assert (read.spec.task.features, read.spec.task.input.kind) == (("review",), "text")
    assert "categories_resemble_text" not in {advice.code for advice in read.advice}
    table = resolved({}, of)
    assert (table.spec.task.features, table.spec.task.input.kind) == (("review", "stars"), "table")
    advice = next(advice for advice in table.advice if advice.code == "categories_resemble_text")
    assert (advice.pointer, "'review' has 60 different texts" in advice.message) == ("/task/input", True)


@pytest.mark.parametrize("net", ["rnn", "cnn"])
def test_a_network_of_no_tables_says_so_of_a_table(net):
    for of in (PEOPLE, report(PET, numeric("x"), PET.model_copy(update={"name": "kind"}))):
        assert "not table: choose linear or mlp" in refusals({"net": {"kind": net}}, of)["/net/kind"]


def test_a_column_named_target_comes_before_the_last():
    assert resolved({}, report(numeric("target"), numeric("age"))).spec.task.target == ("target",)


def test_an_array_named_target_is_the_target_as_a_whole():
    columns = [numeric("target.0", group="target"), numeric("target.1", group="target"), numeric("x")]
    resolution = resolved({}, report(*columns))
    assert (resolution.spec.task.target, resolution.spec.task.kind) == (("target.0", "target.1"), "regression")
    assert resolution.outputs == 2
    assert resolution.spec.preprocess.target == "standardize"
    assert resolution.spec.checkpoints.monitor == "val.r2"


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (classes("y", 2), "classification"),
        (classes("y", 30), "classification"),
        (classes("y", 31), "regression"),
        (numeric("y", integral=False, distinct=3), "regression"),
        (numeric("y", integral=True), "regression"),
        (PET, "classification"),
    ],
)
def test_what_a_target_is_read_as(target, kind):
    assert resolved({}, report(numeric("x"), target)).spec.task.kind == kind


def test_numbers_read_as_classes_are_pointed_out():
    codes = {advice.code for advice in resolved({}, report(numeric("x"), classes("y", 5))).advice}
    assert "target_read_as_classes" in codes


def flawed(kind, count=1, rows=(4,)):
    return report(numeric("x", flaws=(Flaw(kind=kind, count=count, first_rows=rows),)), PET)


SCANS = report(
    numeric("x"), ColumnReport(name="scan", kind="image", tensor="scan", channels=1, heights=(8, 8), widths=(8, 8))
)
VOICES = report(ColumnReport(name="voice", kind="sound", tensor="voice", rates=(8000,), seconds=(1.0, 1.0)), PET)
RARE = {"train": 0.1, "validation": 0.9}
RARE_PET = PET.model_copy(update={"level_counts": (18, 2)})


@pytest.mark.parametrize(
    ("document", "of", "pointer", "words"),
    [
        ({"task": {"target": "wages"}}, PEOPLE, "/task/target", "did you mean 'wage'"),
        ({"task": {"features": ["age", "pt"]}}, PEOPLE, "/task/features/1", "no column 'pt'"),
        ({"task": {"features": ["age", "wage"], "target": "wage"}}, PEOPLE, "/task/features", "target"),
        ({"task": {"features": ["remark"]}}, PEOPLE, "/task/features", "holds text"),
        ({"task": {"features": ["age", "remark"]}}, PEOPLE, "/task/features", "holds text"),
        ({"task": {"input": {"kind": "sound"}}}, PEOPLE, "/task/features", "no column to be seen as sound"),
        ({"task": {"input": {"kind": "image"}}}, PEOPLE, "/task/input", "set channels, height and width"),
        ({"preprocess": {"impute": {}}}, PEOPLE, "/preprocess/impute", "only"),
        ({"task": {"target": "remark", "kind": "classification"}}, PEOPLE, "/task/target", "too many"),
        ({"task": {"target": "remark", "kind": "regression"}}, PEOPLE, "/task/kind", "regression needs numbers"),
        ({"task": {"target": ["age", "pet"], "kind": "classification"}}, PEOPLE, "/task/target", "one target"),
        ({}, report(REMARK, PET), "/task/features", "no numeric column"),
        ({}, report(numeric("x"), PET, rows=1), "/split", "too few rows: 0 of 1"),
        ({}, report(numeric("x"), PET, rows=2), "/split", "too few rows: 1 of 2"),
        ({"task": {"target": "y"}}, report(numeric("x"), numeric("y"), rows=2), "/split", "too few rows: 1 of 2"),
        ({"split": RARE}, report(numeric("x"), RARE_PET, rows=20), "/split", "of 2 classes only 1 would have training"),
        (
            {"task": {"kind": "classification"}},
            report(numeric("x"), numeric("y", integral=True, distinct=3, maximum=2.0**53)),
            "/task/target",
            "write the labels as text",
        ),
        (
            {},
            report(numeric("x"), numeric("y", integral=True, distinct=3, minimum=-(2.0**60))),
            "/task/target",
            "set task.kind to regression",
        ),
        ({"preprocess": {"features": "none"}}, report(numeric("x", minimum=-4e38), PET), "/dataset", "'x' has values"),
        ({}, report(numeric("x", maximum=2e150), PET), "/dataset", "column 'x' has values beyond 1e+150"),
        ({}, report(numeric("x"), numeric("y", minimum=-2e150)), "/dataset", "column 'y' has values beyond 1e+150"),
        (
            {"preprocess": {"target": "none"}},
            report(numeric("x"), numeric("y", maximum=4e38)),
            "/dataset",
            "column 'y' has values beyond 3.403e+38",
        ),
        ({}, report(numeric("x"), PET.model_copy(update={"distinct": 1})), "/task/target", "single class"),
        ({}, report(numeric("x"), numeric("y", distinct=1)), "/task/target", "single value"),
        ({}, flawed("missing"), "/dataset", "column 'x', row 4: missing value"),
        ({}, flawed("text_in_numbers", 9, (1, 2, 3, 5, 8)), "/dataset", "rows 1, 2, 3, 5, 8 and 4 more: text"),
        ({}, flawed("non_finite"), "/dataset", "NaN or infinite"),
        ({"task": {"missing": "impute"}}, flawed("missing", 100), "/task/features", "'x' has no number to fill"),
        ({"training": {"class_weights": {"cta": 2.0}}}, PEOPLE, "/training/class_weights", "no class 'cta'"),
        ({"task": {"target": "scan"}}, SCANS, "/task/target", "'scan' holds images"),
        ({"task": {"target": "scan", "kind": "regression"}}, SCANS, "/task/target", "'scan' holds images"),
        ({"task": {"input": {"kind": "sound", "mels": 200}}}, VOICES, "/task/input/mels", "200 mel bands"),
        ({"task": {"target": "wage"}, "loss": {"base": {"kind": "cross_entropy"}}}, PEOPLE, "/loss/base/kind", ""),
        ({"preprocess": {"target": "standardize"}}, PEOPLE, "/preprocess/target", "cannot be standardised"),
        ({"task": {"target": "wage"}, "split": {"stratify": True}}, PEOPLE, "/split/stratify", "regression"),
        ({"checkpoints": {"monitor": "val.r2"}}, PEOPLE, "/checkpoints/monitor", "does not exist"),
        ({"checkpoints": {"monitor": "val.rmse"}}, PEOPLE, "/checkpoints/monitor", "does not exist"),
        ({"checkpoints": {"monitor": "val.nll"}}, PEOPLE, "/checkpoints/monitor", "needs probabilities"),
        (
            {"net": {"norm": "batch"}, "training": {"batch_size": 15}},
            report(numeric("x"), PET, rows=20),
            "/training/batch_size",
            "choose batch_size 14",
        ),
        (
            {"split": {"train": 1.0, "validation": 0.0}, "checkpoints": {"monitor": "val.loss"}},
            PEOPLE,
            "/checkpoints/monitor",
            "no validation rows",
        ),
    ],
)
def test_a_misfit_is_refused_with_pointer_and_reason(document, of, pointer, words):
    found = refusals(document, of)
    assert pointer in found, found
    assert words in found[pointer]


@pytest.mark.parametrize(
    ("document", "of"),
    [
        ({}, report(numeric("x", maximum=1e149, minimum=-4e38), numeric("y", maximum=1e149))),
        ({"preprocess": {"features": "none"}}, report(numeric("x", maximum=3e38), PET)),
        ({"task": {"features": ["x"]}}, report(numeric("x"), numeric("other", maximum=1e300), PET)),
        ({"split": {**RARE, "stratify": False}}, report(numeric("x"), RARE_PET, rows=20)),
        (
            {"task": {"kind": "regression"}},
            report(numeric("x"), numeric("y", integral=True, distinct=3, maximum=2.0**53)),
        ),
        ({}, report(numeric("x"), classes("y", 3, maximum=2.0**60))),  # an NPZ file keeps them exactly
    ],
    ids=["standardised", "float32", "unused", "drawn", "quantity", "exact"],
)
def test_what_training_can_take_is_let_through(document, of):
    resolved(document, of)


def codes_of(resolution):
    return {advice.code: advice for advice in resolution.advice}


def test_a_target_taken_for_its_place_alone_is_pointed_out():
    assert "'pet'" in codes_of(resolved({}))["target_assumed"].message
    assert "target_assumed" not in codes_of(resolved({"task": {"target": "pet"}}))
    assert "target_assumed" not in codes_of(resolved({}, report(numeric("target"), numeric("age"))))


def test_an_npz_file_without_a_target_needs_it_named():
    columns = (numeric("features.0", group="features"), numeric("features.1", group="features"))
    of = DatasetReport(format="npz", rows=100, columns=columns)
    found = refusals({"loss": {"base": {"kind": "cross_entropy"}}, "split": {"stratify": True}}, of)
    assert found == {"/task/target": "the file has no array 'target': name the column to learn"}
    assert resolved({"task": {"target": "features.1"}}, of).spec.task.features == ("features.0",)


def test_a_single_validation_row_has_no_r2():
    of = report(numeric("x"), numeric("y"), rows=5)
    assert codes_of(resolved({}, of))["r2_undefined"].pointer == "/split/validation"
    assert "r2_undefined" not in codes_of(resolved({}, report(numeric("x"), numeric("y"), rows=10)))
    assert "r2_undefined" not in codes_of(resolved({}, report(numeric("x"), classes("y", 2), rows=5)))


def test_flaws_of_columns_that_are_not_used_do_not_matter():
    bad = numeric("bad", flaws=(Flaw(kind="missing", count=3, first_rows=(1, 2, 3)),))
    assert resolved({"task": {"features": ["x"]}}, report(numeric("x"), bad, PET)).shape.numbers == 1


def test_every_misfit_is_reported_at_once():
    found = refusals(
        {
            "task": {"features": ["aeg"], "target": "wage"},
            "split": {"stratify": True},
            "loss": {"base": {"kind": "cross_entropy"}},
        }
    )
    assert set(found) == {"/task/features/0", "/split/stratify", "/loss/base/kind"}


def test_without_validation_rows_the_last_epoch_is_delivered():
    resolution = resolved({"split": {"train": 1.0, "validation": 0.0}})
    assert resolution.spec.checkpoints.keep_best is False
    assert "no_validation" in {advice.code for advice in resolution.advice}


COUNTS = report(numeric("age"), numeric("visits", minimum=0.0, maximum=9.0, standard_deviation=1.5))
OF_COUNTS = {"loss": {"base": {"kind": "poisson"}}}


def test_counts_are_taken_as_they_are():
    assert resolved(OF_COUNTS, COUNTS).spec.preprocess.target == "none"
    asked = refusals(OF_COUNTS | {"preprocess": {"target": "standardize"}}, COUNTS)
    assert asked == {"/preprocess/target": "poisson takes counts as they are"}


def test_a_negative_count_is_refused_from_the_report():
    of = report(numeric("age"), numeric("visits", minimum=-0.5, maximum=9.0))
    assert "goes down to -0.5; poisson takes counts from 0 on" in refusals(OF_COUNTS, of)["/task/target"]
    assert refusals(OF_COUNTS)["/loss/base/kind"] == "poisson models counts; the task is classification"


def test_the_head_of_a_predicted_variance_is_among_the_parameters():
    of = report(numeric("age"), numeric("wage"), numeric("a", group="target"), numeric("b", group="target"))
    for head, extra in (("shared", 1), ("per_output", 2)):
        resolution = resolved({"loss": {"base": {"kind": "gaussian_nll", "head": head}}}, of)
        assert resolution.outputs == 2
        assert resolution.parameters == 2 * 64 + 64 + (64 + 1) * (2 + extra)


@pytest.mark.parametrize(
    ("of", "more", "alpha", "wanted"),
    [
        (PEOPLE, {}, 0.9, []),  # two classes of equal size: 0.25
        (PEOPLE, {}, 1.01, ["article_pushes_outward"]),
        (COUNTS, {}, 2.6, []),  # standardised: 1
        (COUNTS, {}, 2.7, ["article_not_convex"]),
        (COUNTS, {"preprocess": {"target": "none"}}, 2.7, []),  # 1.5 squared
        (COUNTS, {"preprocess": {"target": "none"}}, 9.1, ["article_pushes_outward"]),
    ],
    ids=["classes", "classes-over", "standardised", "standardised-over", "as-they-are", "as-they-are-over"],
)
def test_the_article_s_bounds_are_those_of_the_targets_variance(of, more, alpha, wanted):
    loss = {"alpha": alpha, "divergence": {"kind": "article", "variance": {"kind": "target"}}}
    advice = resolved({"loss": loss} | more, of).advice
    found = [one.code for one in advice if one.code.startswith("article")]
    assert [code for code in found if code != "article_not_convex" or of is not PEOPLE] == wanted


DOG = ColumnReport(
    name="dog", kind="category", tensor="codes", position=1, distinct=2, levels=("no", "yes"), level_counts=(95, 5)
)


def test_categories_are_features_too_and_rare_ones_are_pointed_out():
    resolution = resolved({}, report(numeric("age"), DOG, PET))
    spec = resolution.spec
    assert spec.task.features == ("age", "dog")
    assert resolution.shape == TableShape(numbers=1, levels=(3,))
    assert spec.preprocess.unknown == "other"
    assert "dog" in codes_of(resolution)["rare_categories"].message
    common = DOG.model_copy(update={"level_counts": (50, 50)})
    assert resolved({}, report(numeric("age"), common, PET)).spec.preprocess.unknown == "error"
    assert resolved({"preprocess": {"unknown": "error"}}, report(numeric("age"), DOG, PET)).spec.preprocess.unknown == (
        "error"
    )


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        (
            {"kind": "image", "channels": 3, "heights": (20, 500), "widths": (32, 600)},
            {"kind": "image", "channels": 3, "height": 20, "width": 32},
        ),
        ({"kind": "text", "longest": 4000}, {"kind": "text", "vocabulary": 10_002, "longest": 256}),
        (
            {"kind": "sound", "rates": (8000, 44_100), "seconds": (0.5, 3.0)},
            {"kind": "sound", "rate": 16_000, "longest": 48_000, "window": 400, "hop": 160, "mels": 40},
        ),
        (
            {"kind": "sound", "rates": (50,), "seconds": (0.1, 0.2)},
            {"kind": "sound", "rate": 100, "longest": 20, "window": 16, "hop": 1, "mels": 9},
        ),
        ({"kind": "sequence", "channels": 2, "longest": 5000}, {"kind": "sequence", "channels": 2, "longest": 1024}),
    ],
)
def test_what_auto_makes_of_a_column_of_another_kind(column, shape):
    resolution = resolved({}, report(ColumnReport(name="x", tensor="flat.0", **column), PET))
    assert resolution.shape.model_dump() == shape
    assert resolution.spec.task.input.kind == column["kind"]
    again = TrainSpec.model_validate_json(resolution.spec.model_dump_json())
    assert resolved(again.model_dump(), report(ColumnReport(name="x", tensor="flat.0", **column), PET)).spec == again


def test_of_several_columns_of_images_one_has_to_be_named():
    images = [
        ColumnReport(name=name, kind="image", tensor=name, channels=1, heights=(8, 8), widths=(8, 8))
        for name in ("left", "right")
    ]
    found = refusals({"net": {"kind": "cnn"}}, report(*images, PET))
    assert "'left', 'right'" in found["/task/features"]
    spec = {"net": {"kind": "cnn"}, "task": {"features": ["right"]}}
    assert resolved(spec, report(*images, PET)).spec.task.features == ("right",)


def test_thousands_of_unknown_names_are_refused_with_hints_for_the_first():
    found = refusals({"task": {"features": [f"age{index}" for index in range(2000)]}}, PEOPLE)
    unknown = [words for pointer, words in found.items() if pointer.startswith("/task/features/")]
    assert len(unknown) == 2000
    assert 0 < sum("did you mean" in words for words in unknown) < 10
