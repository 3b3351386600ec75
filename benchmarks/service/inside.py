"""The default job on the digits without a service: one training for each line on standard input, seconds on the other.

    echo 100 | python -m benchmarks.service.inside

From the table's bytes to the trained model and its report, as in a worker's warm runner; the first training, of one
epoch, is not timed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from softreg_core.data.parse import parse_sample
from softreg_core.data.table import load_table
from softreg_core.data.tabular import prepare
from softreg_core.engine import events, train
from softreg_core.spec import TrainSpec, resolve


def _seconds(table: Path, epochs: int, engine: str) -> float:
    started = time.perf_counter()
    loaded = load_table(table)
    asked = TrainSpec.model_validate({"training": {"epochs": epochs, "engine": engine}})
    spec = resolve(asked, loaded.report).spec
    for event in train(spec, prepare(spec, loaded)):
        if isinstance(event, events.Finished):
            return time.perf_counter() - started
    raise SystemExit("the training did not finish")


def main() -> None:
    """Train until standard input ends."""
    engine = sys.argv[1] if len(sys.argv) > 1 else "eager"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table")
        parse_sample("digits", table)
        _seconds(table, 1, engine)
        print("ready", flush=True)
        for line in sys.stdin:
            print(_seconds(table, int(line), engine), flush=True)


if __name__ == "__main__":
    main()
