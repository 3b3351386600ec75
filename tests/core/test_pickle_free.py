"""Training, saving and loading never unpickle anything: an audit hook in a fresh process would end it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, tempfile
from pathlib import Path

import numpy as np
import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.engine import CheckpointDue, Finished, load_state, save_state, train
from softreg_core.export import save_model
from softreg_core.spec import TrainSpec, resolve


def refuse(event, arguments):
    if event == "pickle.find_class":
        raise SystemExit(f"unpickled {arguments}")


sys.addaudithook(refuse)
if "trip" in sys.argv:
    import pickle

    pickle.loads(pickle.dumps(Path("x")))
table = table_from_arrays(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
spec = resolve(TrainSpec.model_validate({"training": {"epochs": 2}}), table.report).spec
data = prepare(spec, table)
with tempfile.TemporaryDirectory() as folder:
    for event in train(spec, data):
        if isinstance(event, CheckpointDue):
            save_state(event.state, Path(folder) / "state")
            state = load_state(Path(folder) / "state")
        if isinstance(event, Finished):
            save_model(event.model, Path(folder), event.metrics)
    softreg_core.load(folder).predict([[1.0, 2.0]])
print("done")
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_a_whole_run_unpickles_nothing():
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"


def test_the_hook_would_see_it():
    assert "unpickled" in run("trip").stderr
