"""A trained model as files, and back; see `document` for what they hold."""

from softreg_core.export.document import DataDocument
from softreg_core.export.formats import ExportRecord, export_model
from softreg_core.export.save import save_model

__all__ = ["DataDocument", "ExportRecord", "export_model", "save_model"]
