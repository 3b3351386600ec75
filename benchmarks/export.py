"""Every network on every kind of input in every format: seconds, bytes, and how far it is from torch.

    make bench-export

Small networks with random weights, saved as a trained model is, then exported twice: the first export of a process
brings the exporter's own start with it. The difference is what `softreg_core.export.export_model` finds at three
shapes (one row, seven, and seven of another length or another number of rows), relative to the larger of 1 and the
output.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softreg_core.data.encode import (
    Encoding,
    ImageEncoding,
    SequenceEncoding,
    SoundEncoding,
    TableEncoding,
    TextEncoding,
)
from softreg_core.data.encode.table import CategoryColumn, NumberColumn
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.scaling import Scaling
from softreg_core.engine.events import TrainedModel
from softreg_core.errors import ExportError
from softreg_core.export import export_model, save_model
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec
from softreg_core.spec.net_fit import TAKES

NETS: dict[str, list[dict[str, Any]]] = {
    "linear": [{"kind": "linear"}],
    "mlp": [{"kind": "mlp", "hidden": [16], "norm": "batch", "dropout": 0.1}],
    "cnn": [{"kind": "cnn", "channels": [4, 8], "convolutions": 1}],
    "resnet": [{"kind": "resnet", "width": 4}],
    "rnn": [
        {"kind": "rnn", "cell": "lstm", "hidden": 8, "layers": 2, "embedding": 8},
        {"kind": "rnn", "cell": "gru", "hidden": 8, "embedding": 8, "pooling": "last"},
    ],
    "transformer": [{"kind": "transformer", "width": 16, "heads": 2, "layers": 1}],
}
_CLASSES = ("a", "b", "c")
_TABLE_NAMES = ("age", "height", "pet")


def encodings() -> dict[str, Encoding]:
    """A small one of each kind of input."""
    numbers = (NumberColumn(name="age"), NumberColumn(name="height", fill=170.0, has_indicator=True))
    names = ("age", "height", "height is missing")
    scaling = Scaling(names, np.array([1e6, 170.0, 0.0]), np.array([3.0, 10.0, 1.0]))
    pets = CategoryColumn(name="pet", levels=("cat", "dog"), unknown="other", has_missing=False)
    words = tuple(f"w{index}" for index in range(50))
    return {
        "table": TableEncoding(columns=_TABLE_NAMES, numbers=numbers, categories=(pets,), scaling=scaling),
        "image": ImageEncoding(
            columns=("image",),
            channels=3,
            height=16,
            width=16,
            pixels="uint8",
            mean=np.array([0.5, 0.4, 0.3]),
            std=np.array([0.2, 0.2, 0.3]),
        ),
        "sequence": SequenceEncoding(
            columns=("steps",), channels=3, longest=20, mean=np.array([0.0, 5.0, -2.0]), std=np.array([1.0, 2.0, 3.0])
        ),
        "text": TextEncoding(columns=("text",), vocabulary="word", words=words, lowercase=True, longest=20),
        "sound": SoundEncoding(
            columns=("sound",),
            rate=8000,
            longest=4000,
            window=256,
            hop=128,
            mels=16,
            mean=np.full(16, -5.0),
            std=np.full(16, 2.0),
        ),
    }


def stand_in(net: dict[str, Any], encoding: Encoding, directory: Path, *, is_regression: bool = False) -> None:
    """Save a network with random weights as a trained model is saved."""
    loss = {"base": {"kind": "half_squared_error" if is_regression else "cross_entropy"}, "divergence": None}
    spec = TrainSpec.model_validate({"net": net, "loss": loss})
    target = Scaling(("price",), np.array([5e4]), np.array([1e3])) if is_regression else None
    preprocessing = Preprocessing(
        encoding, ("price",) if is_regression else ("class",), target, None if is_regression else _CLASSES
    )
    built = build_net(spec.net, preprocessing.shape, preprocessing.outputs, 0, preprocessing.statistics)
    for name, buffer in built.named_buffers():
        # As training leaves them: a norm that has seen nothing would not show what it does.
        if name.endswith("running_mean"):
            buffer.copy_(torch.linspace(-0.3, 0.3, buffer.numel()))
        if name.endswith("running_var"):
            buffer.copy_(torch.linspace(0.5, 1.5, buffer.numel()))
    save_model(TrainedModel(spec, dict(built.state_dict()), preprocessing), directory, {})


def combinations() -> Iterator[tuple[str, dict[str, Any], Encoding]]:
    """A name, a network and what it takes."""
    for kind, specs in NETS.items():
        for spec in specs:
            for name, encoding in encodings().items():
                if name in TAKES[kind]:
                    yield f"{spec.get('cell', kind)} on {name}", spec, encoding


def main() -> None:
    """Measure and print a Markdown table; exit status 1 when something cannot be exported."""
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(f"one thread, {datetime.now(UTC).date().isoformat()}\n")
    print("| network | format | first s | again s | KB | largest difference |")
    print("|---|---|---|---|---|---|")
    failed = 0
    for name, net, encoding in combinations():
        for form in ("onnx", "pt2"):
            with tempfile.TemporaryDirectory(prefix="softreg-bench-") as folder:
                stand_in(net, encoding, Path(folder))
                try:
                    seconds = []
                    for _ in range(2):
                        began = time.perf_counter()
                        record = export_model(folder, form)
                        seconds.append(time.perf_counter() - began)
                    size = (Path(folder) / record.file).stat().st_size / 1024
                    shown = f"{seconds[0]:.1f} | {seconds[1]:.1f} | {size:.0f} | {record.largest_difference:.1e}"
                except ExportError as error:
                    failed += 1
                    shown = f"failed: {error.message[:200]} | | |"
                print(f"| {name} | {form} | {shown} |", flush=True)
    print(f"\n{failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
