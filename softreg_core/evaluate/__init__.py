"""How good a network is on given rows; knows no trainer, so that a loaded model is measured by the same code."""

from softreg_core.evaluate.measure import EVALUATION_ROWS, evaluate

__all__ = ["EVALUATION_ROWS", "evaluate"]
