"""A file that is larger than memory's share, made ready for training: like softreg_core.data.tabular, but on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from softreg_core.data.part import Part
from softreg_core.data.report import DatasetReport
from softreg_core.data.stream.chunks import Chunks
from softreg_core.data.stream.deal import deal
from softreg_core.data.stream.pieces import Pieces
from softreg_core.data.streamed import StreamedPart
from softreg_core.data.tabular import PreparedData
from softreg_core.spec.train import TrainSpec

__all__ = ["prepare_large"]


def prepare_large(spec: TrainSpec, report: DatasetReport, chunks: Chunks, directory: Path) -> PreparedData:
    """Split, learn of the training rows what is done before the network, and deal prepared rows into pieces on disk.

    The rows of each part are those that `prepare` would give it, and so is what is learned, up to rounding; the order
    in which they are trained is another: pieces are permuted, and the rows within each.

    Args:
        spec: resolved against `report`.
        report: of the whole file; see softreg_core.data.stream.source.scan.
        chunks: the file, such as softreg_core.data.stream.source.ParquetChunks.
        directory: an empty one, with room for the prepared rows, that stays as long as they are trained.

    Raises:
        DataError: as `prepare`.
    """
    dealt = deal(spec, report, chunks, directory)
    validation, test = (_part(pieces) for pieces in (dealt.validation, dealt.test))
    return PreparedData(StreamedPart(dealt.train, dealt.has_weight), validation, test, dealt.preprocessing)


def _part(pieces: Pieces | None) -> Part | StreamedPart:
    return Part((), torch.empty(0)) if pieces is None else StreamedPart(pieces)
