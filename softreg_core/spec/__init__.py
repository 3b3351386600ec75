"""The language of jobs: frozen, closed pydantic models; torch-free.

`TrainSpec` is the whole; each part stands in a module of its own. A `kind` chooses a member of a union.
A value that the service cannot honour is refused here, never accepted and ignored.
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
