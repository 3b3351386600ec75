"""The model card: README.md beside the weights, for whoever is handed the model without its story."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from softreg_core.export.document import CARD_NAME, DOCUMENT_NAME, WEIGHTS_NAME, ModelDocument
from softreg_core.export.meaning import output_names
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.formula import describe
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
    parameters = parameter_count(document.net, document.shape, outputs)
    yield f"# {document.task.capitalize()} of {wanted} by {document.net.kind}"
    yield ""
    yield f"A network of kind `{document.net.kind}` with {parameters:,} trainable numbers, trained by softreg"
    yield f"{document.versions.get('softreg', '')}. Its description for programs is `{DOCUMENT_NAME}`."
    yield ""
    yield f"- It takes: {document.shape.kind}; columns {_listed(document.features.names)}."
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
    yield "| rows | metric | value |"
    yield "|---|---|---|"
    for name, value in sorted(document.metrics.items()):
        part, _, metric = name.partition(".")
        shown = "not finite" if value is None else f"{value:.4g}"
        yield f"| {_PARTS.get(part, part)} | {metric} | {shown} |"
    yield ""


def _limits(document: ModelDocument) -> Iterator[str]:
    spec = document.spec
    parts = {name.partition(".")[0] for name in document.metrics}
    yield "## Limits"
    yield ""
    if "test" not in parts:
        yield "- **No rows were kept for a test.** The figures above were seen while the model was made."
    if "val" in parts and spec.checkpoints.keep_best:
        better = "largest" if is_larger_better(spec.checkpoints.monitor) else "smallest"
        yield (
            f"- This is the epoch with the {better} `{spec.checkpoints.monitor}`, so that figure is better than what "
            "new rows from the same source will show."
        )
    if document.data is not None and document.data.rows < _FEW_ROWS / min(1.0, _smallest_share(document)):
        yield "- Fewer than a hundred rows were measured in some part: its figures may be off by a lot."
    yield "- One seed was trained. Another seed, or another division of the rows, gives other figures."
    yield "- Nothing was tried on rows from elsewhere: of another time, place, device or population."
    if output_names(document)[0] == "scores":
        yield (
            f"- Its scores are no probabilities: the base of the loss, `{spec.loss.base.kind}`, compares them with "
            "0 and 1 as values."
        )
    yield ""


def _smallest_share(document: ModelDocument) -> float:
    split = document.spec.split
    return min(share for share in (split.train, split.validation, split.test) if share > 0.0)


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
    yield f"- Made with {versions}. The same spec, data and versions on the same machine give the same weights."
    yield f"- `{WEIGHTS_NAME}`: {document.weights.size:,} bytes, sha256 `{document.weights.sha256}`."
    yield ""


def _loading(document: ModelDocument) -> Iterator[str]:
    yield "## How to load it"
    yield ""
    yield f"With `{WEIGHTS_NAME}` and `{DOCUMENT_NAME}` in one folder and `pip install 'softreg[core]'`:"
    yield ""
    yield "```python"
    yield "import softreg_core"
    yield ""
    yield 'model = softreg_core.load(".")'
    yield f"rows = {_example_rows(document)}  # columns in the order of model.features"
    yield "print(model.predict(rows))"
    yield "```"
    yield ""
    yield "From `model.onnx`, where it was asked for, without torch and without softreg (`pip install onnxruntime`):"
    yield ""
    yield "```python"
    yield "import numpy as np"
    yield "import onnxruntime"
    yield ""
    yield 'session = onnxruntime.InferenceSession("model.onnx")'
    names = output_names(document)
    found = ", ".join(names) + "," * (len(names) == 1)
    yield f'{found} = session.run(None, {{"numbers": np.array({_example_rows(document)}, dtype=np.float64)}})'
    yield f"print({names[0]})"
    yield "```"
    yield ""
    yield "`model.pt2` is read by `torch.export.load`, which may run what the file holds: only from people you trust."


def _example_rows(document: ModelDocument) -> str:
    """One row of the training data's means."""
    means = [float(f"{mean:.3g}") for mean in document.features.mean]
    if len(means) > _MOST_NAMES:
        return f"[[0.0] * {len(means)}]"
    return json.dumps([means])


def _listed(names: Iterable[str]) -> str:
    """The user's own words, as text that Markdown leaves alone."""
    found = list(names)
    shown = ", ".join(f"`{_plain(name, _LONGEST_NAME)}`" for name in found[:_MOST_NAMES])
    return shown + (f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else "")


def _plain(text: str, longest: int) -> str:
    """One line that ends no code span and no table cell."""
    line = re.sub(r"[`\s\x00-\x1f\x7f]+", " ", text).replace("|", "\\|").strip() or " "
    return line if len(line) <= longest else line[: longest - 1] + "…"
