"""Many runs of one shape as one batched program: `train_packed`.

Parameters, moments and buffers of all members are stacked (`Stack`); the step of one member, the very objective that a
single run has, is mapped over them by `vmap` and traced once (`PackProgram`). A `Member` is a run that keeps the books
and takes no step itself.
"""

from softreg_core.engine.pack.loop import PackControl, train_packed

__all__ = ["PackControl", "train_packed"]
