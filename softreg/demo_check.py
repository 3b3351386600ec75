"""`python -m softreg.demo_check DIRECTORY`: rebuild a downloaded model of the sample digits and measure it again.

Nothing of the service is at hand here: only `model.safetensors`, `model.json`, the sample itself, and the rule by
which its rows were split. Prints `{"accuracy": ..., "rows": ...}`.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["measure"]


def measure(directory: Path) -> dict[str, Any]:
    """The share of validation rows whose class the model in `directory` predicts, and how many rows there are."""
    # By name: the command line has no edge to torch, and only this process, started for it, pays for the import.
    model = importlib.import_module("softreg_core").load(directory)
    splits = importlib.import_module("softreg_core.data.splits")
    table = importlib.import_module("softreg_core.data.sample").load_sample("digits")
    rows = splits.split_rows(model.document.spec, table).validation
    predicted = model.predict(table.values(model.features)[rows])
    wanted = table.labels(model.document.target_names[0])[rows]
    return {"accuracy": float((predicted == wanted).mean()), "rows": len(rows)}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
