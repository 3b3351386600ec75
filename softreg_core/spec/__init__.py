"""The language of jobs: frozen, closed pydantic models; torch-free.

`TrainSpec` (`train`) is the whole; each block stands in a module of its own: `data` (task, split, preprocessing) with
`task_input`; `loss` with `bases`, `divergences` and `alpha`; `net`; `optimizer`; `schedule`; `penalties`; `training`;
`export`. A `kind` chooses a member of a union. A value that the service cannot honour is refused, never accepted and
ignored: alone by the models, together by `fit`, `net_fit` and `beside`, against a dataset's report by `resolve`.

What follows from a spec: `inputs` (the tensors), `heads` and `widths` (sizes), `parameters`, `work` and `estimate`
(what it costs), `formula` and `advice` (what is told). `problems` makes messages of whatever pydantic finds.
"""

from softreg_core.spec.data import PreprocessSpec, SplitSpec, TaskSpec
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import MlpSpec
from softreg_core.spec.optimizer import AdamSpec, SgdSpec
from softreg_core.spec.problems import problems_of
from softreg_core.spec.resolve import Resolution, resolve
from softreg_core.spec.train import TrainSpec, canonical_json, sha256_of
from softreg_core.spec.training import CheckpointsSpec, ResourcesSpec, TrainingSpec

__all__ = [
    "AdamSpec",
    "CheckpointsSpec",
    "LossSpec",
    "MlpSpec",
    "PreprocessSpec",
    "Resolution",
    "ResourcesSpec",
    "SgdSpec",
    "SplitSpec",
    "TaskSpec",
    "TrainSpec",
    "TrainingSpec",
    "canonical_json",
    "problems_of",
    "resolve",
    "sha256_of",
]
