"""The tiers that take many steps in one call, and which of them runs a job.

`advance` is their seam with a run; `choose` decides, on a GPU by `on_cuda`. `compiled` runs programs of the processor:
a `plan` says what is in one, `stretch` and `layout` are the loop around the traced step, `compile` makes and loads it,
`artifacts` keeps it on disk, and `experience` knows what that cost here. `recorded` runs steps that a GPU has recorded,
by `cuda_graph` and the updates of `inplace`. The step itself is in `engine.program`.
"""
