"""The trainer: a generator of events that reads no clock, no network and no database to decide anything.

`train` yields what happens; who calls it stores checkpoints and stops it. `fit` runs it to the end, for a notebook.
"""

from softreg_core.engine.events import (
    CheckpointDue,
    EpochEnded,
    Failed,
    Finished,
    Progress,
    Started,
    StepLogged,
    Stopped,
    TrainedModel,
    TrainEvent,
)
from softreg_core.engine.fit import TrainResult, fit
from softreg_core.engine.loop import train
from softreg_core.engine.pack import train_packed
from softreg_core.engine.state import TrainingState, load_state, save_state

__all__ = [
    "CheckpointDue",
    "EpochEnded",
    "Failed",
    "Finished",
    "Progress",
    "Started",
    "StepLogged",
    "Stopped",
    "TrainEvent",
    "TrainResult",
    "TrainedModel",
    "TrainingState",
    "fit",
    "load_state",
    "save_state",
    "train",
    "train_packed",
]
