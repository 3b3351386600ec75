"""Spec meets dataset report: every `auto` filled, every misfit found at once, before anything is queued.

`columns` finds what is learned from what, `target` what kind of task that is, `parts` how many rows train, and
`whole` puts them together; each notes what it finds in one `Findings`.
"""

from softreg_core.spec.resolve.whole import Resolution, resolve

__all__ = ["Resolution", "resolve"]
