"""A trained model as two files, and back; see `document` for what they hold."""

from softreg_core.export.save import save_model

__all__ = ["save_model"]
