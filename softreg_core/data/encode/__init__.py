"""From cells to what a network takes, one module for each kind of input; NumPy only, torch-free.

Each kind has a fit, which learns from the training rows chunk by chunk (`add`, then `finish` once), and what it gives:
an encoding, a document of model.json. `encoding.arrays(cells)` are the tensors of softreg_core.spec.inputs, as a graph
takes them that begins at raw numbers; `encoding.scaled(cells)` are those that the network of training takes, with the
numbers of a table scaled. `encoding.statistics` are what the network normalises images, sequences and sounds by.
"""

from softreg_core.data.encode.begin import Encoding, Fit, begin_fit
from softreg_core.data.encode.image import ImageEncoding
from softreg_core.data.encode.sequence import SequenceEncoding
from softreg_core.data.encode.sound import SoundEncoding
from softreg_core.data.encode.table import TableEncoding, is_numbers_only, numbers_only
from softreg_core.data.encode.text import TextEncoding

__all__ = [
    "Encoding",
    "Fit",
    "ImageEncoding",
    "SequenceEncoding",
    "SoundEncoding",
    "TableEncoding",
    "TextEncoding",
    "begin_fit",
    "is_numbers_only",
    "numbers_only",
]
