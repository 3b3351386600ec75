"""The model card: README.md beside the weights, for whoever is handed the model without its story."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from softreg_core.data.encode import ImageEncoding, SequenceEncoding, SoundEncoding, TableEncoding, TextEncoding
from softreg_core.evaluate.document import EvaluationReport, Measure
from softreg_core.export.document import CARD_NAME, DOCUMENT_NAME, WEIGHTS_NAME, ModelDocument
from softreg_core.export.meaning import output_names
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.formula import describe
from softreg_core.spec.heads import extra_outputs
from softreg_core.spec.training import is_larger_better

__all__ = ["CARD_NAME", "card"]

_MOST_NAMES = 20
_LONGEST_NAME = 60
_FEW_ROWS = 100
_PARTS = {"train": "training", "val": "validation", "test": "test"}
# Said in sections of their own.
_TOLD = {"spec_version", "task", "split", "net", "loss", "resources", "export"}


def card(document: ModelDocument) -> str:
    """The card as Markdown; all of it comes from the document, so that it says what model.json says."""
    sections = (_what, _data, _loss, _metrics, _limits, _training, _again, _loading)
    return "\n".join(line for section in sections for line in section(document)).rstrip() + "\n"


def _what(document: ModelDocument) -> Iterator[str]:
    wanted = _listed(document.target_names)
    outputs = document.outputs
    width = outputs + extra_outputs(document.spec.loss, outputs)
    parameters = parameter_count(document.net, document.shape, width)
    yield f"# {document.task.capitalize()} of {wanted} by {document.net.kind}"
    yield ""
    yield f"A network of kind `{document.net.kind}` with {parameters:,} trainable numbers, trained by softreg"
    yield f"{document.versions.get('softreg', '')}. Its description for programs is `{DOCUMENT_NAME}`."
    yield ""
    columns = document.preprocessing().inputs.columns
    yield f"- It takes: {document.shape.kind}, from {_listed(columns)}."
    if document.task == "regression":
        yield f"- It gives: {wanted}, in the units of the training data."
    elif document.task == "multilabel":
        yield f"- It gives: for each of the {outputs} labels {_listed(document.labels or ())} whether it is true."
    else:
        yield f"- It gives: one of the {outputs} classes {_listed(document.labels or ())}."
    yield ""


def _data(document: ModelDocument) -> Iterator[str]:
    split = document.spec.split
    yield "## Data"
    yield ""
    if document.data is None:
        yield "- No fingerprint was kept: the model was saved without one."
    else:
        yield f"- {document.data.rows:,} rows; sha256 `{document.data.sha256}`."
    if document.report is not None:
        rows = (f"{part.of_rows:,} for {_PARTS.get(name, name)}" for name, part in document.report.parts.items())
        yield f"- Rows: {', '.join(rows)}."
    yield f"- Divided by `{json.dumps(split.model_dump(mode='json'))}`."
    yield "- Every statistic (scales, classes) comes from the training rows alone."
    yield ""


def _loss(document: ModelDocument) -> Iterator[str]:
    yield "## Loss"
    yield ""
    yield "```"
    yield describe(document.spec.loss)
    yield "```"
    yield ""


def _metrics(document: ModelDocument) -> Iterator[str]:
    yield "## What it reaches"
    yield ""
    if document.report is None:
        yield "| rows | metric | value |"
        yield "|---|---|---|"
        for name, value in sorted(document.metrics.items()):
            part, _, metric = name.partition(".")
            yield f"| {_PARTS.get(part, part)} | {metric} | {_number(value)} |"
    else:
        yield from _measured(document.report)
    yield ""


def _measured(report: EvaluationReport) -> Iterator[str]:
    method = report.intervals
    yield f"In brackets: {method.level:.0%} intervals by {method.method}, over the rows measured, not over seeds."
    yield ""
    yield "| metric | " + " | ".join(f"{_PARTS.get(name, name)} rows" for name in report.parts) + " |"
    yield "|---" * (len(report.parts) + 1) + "|"
    for metric in dict.fromkeys(metric for part in report.parts.values() for metric in part.metrics):
        cells = (_measure(part.metrics.get(metric)) for part in report.parts.values())
        yield f"| {metric}{' (headline)' * (metric == report.headline)} | {' | '.join(cells)} |"
    for name, part in report.parts.items():
        if part.calibration is not None and name != "train":
            found = part.calibration
            yield ""
            yield (
                f"Calibration on the {_PARTS.get(name, name)} rows: expected error {found.ece:.3g}; a model whose "
                f"probabilities are right would show up to {found.ece_if_calibrated_95:.3g} by chance."
            )


def _measure(measure: Measure | None) -> str:
    if measure is None or measure.value is None:
        return "-" if measure is None or measure.reason is None else _plain(measure.reason, 120)
    if measure.lower is None or measure.upper is None:
        return _number(measure.value)
    return f"{_number(measure.value)} [{_number(measure.lower)}, {_number(measure.upper)}]"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _limits(document: ModelDocument) -> Iterator[str]:
    spec = document.spec
    parts = {_PARTS.get(part, part) for part in (name.partition(".")[0] for name in document.metrics)}
    yield "## Limits"
    yield ""
    if "test" not in parts:
        yield "- **No rows were kept for a test.** The figures above were seen while the model was made."
    if "validation" in parts and spec.checkpoints.keep_best:
        better = "largest" if is_larger_better(spec.checkpoints.monitor) else "smallest"
        yield (
            f"- This is the epoch with the {better} `{spec.checkpoints.monitor}`, so that figure is better than what "
            "new rows from the same source will show."
        )
    measured = {} if document.report is None else document.report.parts
    for name, part in measured.items():
        if part.rows < _FEW_ROWS:
            yield f"- Only {part.rows} {_PARTS.get(name, name)} rows were measured: mind the width of their intervals."
    yield "- One seed was trained. Another seed, or another division of the rows, gives other figures."
    yield "- Nothing was tried on rows from elsewhere: of another time, place, device or population."
    if output_names(document)[0] == "scores":
        yield (
            f"- Its scores are no probabilities: the base of the loss, `{spec.loss.base.kind}`, compares them with "
            "0 and 1 as values."
        )
    yield ""


def _training(document: ModelDocument) -> Iterator[str]:
    yield "## How it was trained"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in document.spec.model_dump(mode="json").items():
        if name not in _TOLD:
            yield f"| {name} | `{_plain(json.dumps(value), 2000)}` |"
    yield f"| net | `{_plain(document.net.model_dump_json(), 2000)}` |"
    yield ""


def _again(document: ModelDocument) -> Iterator[str]:
    yield "## To get it again"
    yield ""
    yield f"- Seeds: training {document.spec.training.seed}, division of the rows {document.spec.split.seed}."
    versions = ", ".join(f"{name} {version}" for name, version in document.versions.items())
    yield f"- Made with {versions}."
    if document.manifest is None:
        yield "- The same spec, data and versions on the same machine give the same weights."
    else:
        told = document.manifest.model_dump(mode="json", exclude={"not_claimed"})
        yield f"- The same spec and data give the same bits where this is the same: `{_plain(json.dumps(told), 2000)}`"
        unclaimed = "; ".join(_plain(text, 200) for text in document.manifest.not_claimed)
        yield f"- Not claimed for: {unclaimed or 'nothing'}."
    yield f"- `{WEIGHTS_NAME}`: {document.weights.size:,} bytes, sha256 `{document.weights.sha256}`."
    yield ""


def _loading(document: ModelDocument) -> Iterator[str]:
    yield "## How to load it"
    yield ""
    yield f"With `{WEIGHTS_NAME}` and `{DOCUMENT_NAME}` in one folder and `pip install 'softreg[core]'`:"
    yield ""
    yield "```python"
    yield from _imports(document)
    yield "import softreg_core"
    yield ""
    yield 'model = softreg_core.load(".")'
    yield f"rows = {_example_rows(document)}"
    yield "print(model.predict(rows))"
    yield "```"
    yield ""
    yield from _loading_onnx(document)
    yield ""
    yield "`model.pt2` is read by `torch.export.load`, which may run what the file holds: only from people you trust."


def _loading_onnx(document: ModelDocument) -> Iterator[str]:
    names = output_names(document)
    found = ", ".join(names) + "," * (len(names) == 1)
    is_bare = document.inputs is None
    need = "onnxruntime" if is_bare else "onnxruntime 'softreg[data]'"
    yield f"From `model.onnx`, where it was asked for, without torch (`pip install {need}`):"
    yield ""
    yield "```python"
    if is_bare:
        yield "import numpy as np"
        yield "import onnxruntime"
        yield ""
        yield f'tensors = {{"numbers": np.array({_example_rows(document)}, dtype=np.float64)}}'
    else:
        yield "import json"
        yield "from pathlib import Path"
        yield ""
        yield from _imports(document)
        yield "import onnxruntime"
        yield "from softreg_core.data.prepare import prepare_rows, preprocessing_of"
        yield ""
        yield 'document = json.loads(Path("model.json").read_text(encoding="utf-8"))'
        yield f"tensors = prepare_rows(preprocessing_of(document), {_example_rows(document)})"
    yield 'session = onnxruntime.InferenceSession("model.onnx")'
    yield f"{found} = session.run(None, tensors)"
    yield f"print({names[0]})"
    yield "```"


def _imports(document: ModelDocument) -> Iterator[str]:
    if "np." in _example_rows(document):
        yield "import numpy as np"


def _example_rows(document: ModelDocument) -> str:
    """One row in a form that `predict` takes: the training data's means, or as little as there can be."""
    inputs = document.preprocessing().inputs
    if len(inputs.columns) > _MOST_NAMES:
        is_plain = document.inputs is None or isinstance(inputs, ImageEncoding)
        return f"[[0.0] * {len(inputs.columns)}]" if is_plain else "...  # as in your data: a list of dictionaries"
    match inputs:
        case TableEncoding():
            means = dict(zip(document.features.names, document.features.mean, strict=True))
            levels = {column.name: column.levels[0] for column in inputs.categories if column.levels}
            cells = [levels.get(name, float(f"{means.get(name, 0.0):.4g}")) for name in inputs.columns]
            if document.inputs is None:
                return json.dumps([cells])
            return json.dumps([dict(zip(inputs.columns, cells, strict=True))], ensure_ascii=False)
        case ImageEncoding():
            cell = f"np.zeros(({inputs.channels}, {inputs.height}, {inputs.width}), dtype=np.{inputs.pixels})"
        case SequenceEncoding():
            cell = f"np.zeros(({inputs.longest}, {inputs.channels}))"
        case TextEncoding():
            cell = '"some words"'
        case SoundEncoding():
            cell = f"(np.zeros({inputs.rate}), {inputs.rate})"
    return f"{{{json.dumps(inputs.columns[0])}: [{cell}]}}"


def _listed(names: Iterable[str]) -> str:
    """The user's own words, as text that Markdown leaves alone."""
    found = list(names)
    shown = ", ".join(f"`{_plain(name, _LONGEST_NAME)}`" for name in found[:_MOST_NAMES])
    return shown + (f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else "")


def _plain(text: str, longest: int) -> str:
    """One line that ends no code span and no table cell."""
    line = re.sub(r"[`\s\x00-\x1f\x7f]+", " ", text).replace("|", "\\|").strip() or " "
    return line if len(line) <= longest else line[: longest - 1] + "…"
