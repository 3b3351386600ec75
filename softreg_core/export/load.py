"""A downloaded model, ready to predict."""

# N rows, D features, C outputs

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor, nn

from softreg_core.data.cells import RawCells, spelled
from softreg_core.data.part import Part
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.errors import DataError, IntegrityError
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.evaluate.measure import evaluation_rows
from softreg_core.evaluate.model import Measured
from softreg_core.export.document import DOCUMENT_NAME, ModelDocument
from softreg_core.export.teach import teach
from softreg_core.losses import DataMeta, Loss, build_loss
from softreg_core.nets import build_net
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.fit import has_logits, label_threshold
from softreg_core.spec.heads import extra_outputs

__all__ = ["LoadedModel", "load"]


def load(directory: str | Path) -> LoadedModel:
    """Rebuild a model from `model.json` and `model.safetensors` in one directory.

    Raises:
        DataError: a file is missing or is no model that this version reads.
        IntegrityError: the weights are not those that model.json was written for.
        OSError: the machine cannot read a file that is there.
    """
    folder = Path(directory)
    try:
        document = ModelDocument.model_validate_json((folder / DOCUMENT_NAME).read_bytes())
        weights = (folder / document.weights.file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"not a model: {error}", "missing_file") from error
    except ValidationError as error:
        raise DataError(
            f"{DOCUMENT_NAME} describes no model that this version reads: {error}", "wrong_format"
        ) from error
    if hashlib.sha256(weights).hexdigest() != document.weights.sha256:
        raise IntegrityError(f"{document.weights.file} is not the file that {DOCUMENT_NAME} was written for")
    return LoadedModel(document, _net(document, weights))


def _net(document: ModelDocument, weights: bytes) -> nn.Module:
    width = document.outputs + extra_outputs(document.spec.loss, document.outputs)
    try:
        needed = 4 * parameter_count(document.spec.net, document.shape, width)
    except ValueError as error:
        raise DataError(f"{DOCUMENT_NAME} describes no model that can be: {error}", "wrong_format") from error
    if needed > len(weights):  # before memory is taken for what a forged description asks for
        raise DataError(f"the network has {needed} bytes of weights, the file {len(weights)}", "wrong_weights")
    net = build_net(document.spec.net, document.shape, width, document.spec.training.seed)
    try:
        net.load_state_dict(safetensors_torch.load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"the weights do not fit the network: {error}", "wrong_weights") from error
    return net.eval()


def _loss(document: ModelDocument) -> Loss[Any]:
    # What it followed in training takes the place of the 1 below.
    loss = build_loss(document.spec.loss, DataMeta(document.outputs, document.task, target_variance=1.0))
    try:
        loss.load_state_dict({name: torch.tensor(value) for name, value in document.loss_state.items()}, strict=False)
    except RuntimeError as error:
        raise DataError(f"loss_state does not fit the loss: {error}", "wrong_format") from error
    return loss.eval()


class LoadedModel:
    """Predicts from rows in the user's units; columns in the order of `features`."""

    def __init__(self, document: ModelDocument, net: nn.Module) -> None:
        self.document = document
        self.net = net
        self._preprocessing = document.preprocessing()
        self.loss = _loss(document)
        self._measured = Measured(document.spec, self._preprocessing, net, self.loss)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that a row holds, in order."""
        return self._preprocessing.inputs.columns

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class labels, or the names of labels, in the order of the scores; None for regression."""
        return self.document.labels

    @property
    def metrics(self) -> dict[str, float | None]:
        """What the model reached when it was trained."""
        return dict(self.document.metrics)

    @torch.no_grad()
    def scores(self, rows: Any) -> NDArray[np.float32]:
        """The network's raw outputs, (N, C); for classes the larger the more likely, for regression scaled values.

        Args:
            rows: numbers (N, D), a mapping from column to cells, or a list of mappings from column to cell; texts,
                images, sounds or sequences when the model takes such. See softreg_core.data.cells.

        Raises:
            DataError: the rows have another shape, or a cell is not finite.
        """
        scores: NDArray[np.float32] = self.loss.split(self._outputs(rows))[0].numpy()
        return scores

    @torch.no_grad()
    def predict_variance(self, rows: Any) -> NDArray[np.float64]:
        """The predicted variance of each target given its row, in squared user's units; shaped as `predict` answers.

        Args:
            rows: numbers (N, D).

        Raises:
            DataError: the model predicts no variance, the rows have another shape, or a cell is not finite.
        """
        _, variance = self.loss.split(self._outputs(rows))
        if variance is None:
            raise DataError("the model was trained with a loss that predicts no variance", "no_variance")
        scaling = self._preprocessing.target
        scale_C = np.ones(self.document.outputs) if scaling is None else scaling.scale
        predictive = self.loss.predictive_variance(variance)
        values_NC: NDArray[np.float64] = predictive.double().numpy() * scale_C**2
        return values_NC.ravel() if values_NC.shape[1] == 1 else values_NC

    def _outputs(self, rows: Any) -> Tensor:
        inputs = self._inputs(rows)
        # In the batches of evaluation: another batch size may round differently.
        at_once = evaluation_rows(self.net)
        batches = (slice(start, start + at_once) for start in range(0, len(inputs[0]), at_once))
        outputs = [self.net(*(tensor[rows] for tensor in inputs)) for rows in batches]
        return torch.cat(outputs) if outputs else torch.empty((0, self.document.outputs + self.loss.extra_outputs))

    def predict(self, rows: Any) -> NDArray[Any]:
        """What the rows are.

        Labels (N,) for classes; for several labels at once whether each is true, (N, C) booleans; else values in the
        user's units, (N,) or, with several targets, (N, C).

        Args:
            rows: as for `scores`.

        Raises:
            DataError: the rows have another shape, or a cell is not finite.
        """
        scores_NC = self.scores(rows)
        if self._preprocessing.truths is not None:
            return scores_NC > label_threshold(self.document.spec.loss.base)
        if self._preprocessing.target is None:
            predicted_N: NDArray[np.str_] = np.asarray(self.labels, dtype=np.str_)[scores_NC.argmax(axis=1)]
            return predicted_N
        values_NC = self._preprocessing.target.undo(self.loss.values(torch.from_numpy(scores_NC)).numpy())
        if values_NC.shape[1] == 1:
            return values_NC.ravel()
        return values_NC

    def probabilities(self, rows: Any) -> NDArray[np.float32]:
        """Of each class, (N, K), or of each label being true, (N, C).

        Args:
            rows: as for `scores`.

        Raises:
            DataError: the model's outputs are no logits, or the rows do not fit it.
        """
        base = self.document.spec.loss.base
        if not has_logits(base):
            raise DataError(f"a model trained with base {base.kind} has no probabilities", "no_probabilities")
        scores_NC = torch.from_numpy(self.scores(rows))
        is_multilabel = self._preprocessing.truths is not None
        return (scores_NC.sigmoid() if is_multilabel else scores_NC.softmax(dim=1)).numpy()

    def teach(
        self, preprocessing: Preprocessing, base: BaseSpec, device: torch.device
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """As the teacher of another network: see `train(..., teacher=model)`.

        Args:
            preprocessing: by which that network's inputs are prepared.
            base: of that network's loss.
            device: where it trains.

        Raises:
            DataError: this model has other outputs than are learned there, or needs inputs that are not there.
        """
        return teach(self.document, self.net, preprocessing, base, device)

    def evaluate(self, rows: Any, target: ArrayLike) -> dict[str, float]:
        """Loss and metrics on rows of one's own, by the code that measured the model in training.

        Args:
            rows: as for `scores`.
            target: for classes the labels (N,), as text or as the numbers that they spell; for several
                labels one column each, (N, C), spelled as in training or as truths; else values (N,) or (N, C).

        Returns:
            `loss`, `base`, perhaps `divergence`; and `accuracy`, for labels `subset_accuracy` too, from logits of
            classes `nll` too; or `r2`, `mae` and `rmse`.

        Raises:
            DataError: the arrays do not fit the model or each other.
        """
        return self._measured.metrics(self._asked(rows, target))

    def report(self, rows: Any, target: ArrayLike) -> EvaluationReport:
        """Every metric with its interval on rows of one's own, by the code that made the model's own report.

        Args:
            rows: as for `predict`.
            target: as for `evaluate`.

        Returns:
            A report whose only part is called `rows`; docs/evaluation.md defines what is in it.

        Raises:
            DataError: the arrays do not fit the model or each other.
        """
        return self._measured.report({"rows": self._asked(rows, target)})

    def _asked(self, rows: Any, target: ArrayLike) -> Part:
        inputs, wanted = self._inputs(rows), np.asarray(target)
        if wanted.shape[:1] != inputs[0].shape[:1] or wanted.size == 0:
            raise DataError(f"{inputs[0].shape[0]} rows and a target of shape {wanted.shape}", "lengths_differ")
        if self._preprocessing.truths is not None:
            return Part(inputs, self._truths(wanted))
        return Part(inputs, self._codes(wanted) if self._preprocessing.target is None else self._values(wanted))

    def _inputs(self, rows: Any) -> tuple[Tensor, ...]:
        encoding = self._preprocessing.inputs
        return tuple(map(torch.from_numpy, encoding.scaled(RawCells.of(rows, encoding.columns))))

    def _codes(self, target: NDArray[Any]) -> Tensor:
        index = {label: code for code, label in enumerate(self.labels or ())}
        codes = [index.get(spelled(value), -1) for value in target.ravel().tolist()]
        if target.ndim != 1 or -1 in codes:
            row = codes.index(-1) + 1 if -1 in codes else None
            where = "the target" if row is None else f"column '{self.document.target_names[0]}', row {row}: the target"
            raise DataError(
                f"{where} holds a label that the model does not know", "no_class", row, self.document.target_names[0]
            )
        return torch.tensor(codes)

    def _truths(self, target: NDArray[Any]) -> Tensor:
        columns = target.reshape(target.shape[0], -1)
        truths = self._preprocessing.truths or ()
        if columns.shape[1] != len(truths):
            raise DataError(f"a target with {len(truths)} columns is needed", "wrong_shape")
        encoded = np.empty(columns.shape, dtype=np.float32)
        for column, (false, true) in enumerate(truths):
            meant = {false: 0.0, true: 1.0} if target.dtype.kind != "b" else {"false": 0.0, "true": 1.0}
            codes = [meant.get(spelled(value), -1.0) for value in columns[:, column].tolist()]
            if -1.0 in codes:
                row = codes.index(-1.0) + 1
                raise DataError(
                    f"row {row}: no truth of label '{self.document.target_names[column]}'",
                    "no_class",
                    row,
                    self.document.target_names[column],
                )
            encoded[:, column] = codes
        return torch.from_numpy(encoded)

    def _values(self, target: NDArray[Any]) -> Tensor:
        values_NC = target.astype(np.float64).reshape(target.shape[0], -1)
        scaling = self._preprocessing.target
        if scaling is None or values_NC.shape[1] != len(scaling.names):
            raise DataError(f"a target with {self.document.outputs} columns is needed", "wrong_shape")
        return torch.from_numpy(scaling.apply(values_NC))
