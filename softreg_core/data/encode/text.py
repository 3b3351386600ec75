"""Texts as token ids: bytes, or the most frequent words of the training rows.

Words are what `WORD` finds: runs of letters, digits and underscores of any script, and every other character that is
no white space by itself. Ids: 0 pads, 1 is whatever the vocabulary does not know, 2 and on are the vocabulary.
"""

# N rows, T tokens

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel, refuse
from softreg_core.spec.base import Count
from softreg_core.spec.inputs import TextShape

__all__ = ["WORD", "TextEncoding", "TextFit"]

WORD = re.compile(r"\w+|[^\w\s]")
_UNKNOWN, _FIRST = 1, 2


class TextEncoding(EncodingModel):
    """From texts to `tokens` (N, T) and `lengths` (N,)."""

    kind: Literal["text"] = "text"
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    vocabulary: Literal["byte", "word"]
    """`byte`: id 2 + byte of the UTF-8 text."""
    words: tuple[str, ...] = ()
    """Of a vocabulary of words: the word of id 2, 3, ...; most frequent first, then in text order."""
    lowercase: bool
    """Whether texts are read in small letters."""
    longest: Count
    """T: tokens beyond are cut off."""
    has_missing: bool = True
    """Whether a missing text is read as an empty one; models from before this was written do so."""

    @model_validator(mode="after")
    def _words_fit(self) -> TextEncoding:
        if self.vocabulary == "byte" and self.words:
            raise ValueError("a vocabulary of bytes has no words")
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word is listed twice")
        return self

    @property
    def shape(self) -> TextShape:
        """What the network takes."""
        ids = 256 if self.vocabulary == "byte" else len(self.words)
        return TextShape(vocabulary=_FIRST + ids, longest=self.longest)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index + _FIRST for index, word in enumerate(self.words)}

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`tokens` int64 (N, T), padded with 0, and `lengths` int64 (N,); an empty text is one token of padding.

        Raises:
            DataError: a cell is no text, or is missing and no policy takes it.
        """
        texts = cells.texts(self.columns[0])
        if not self.has_missing:
            refuse(cells.without_text(self.columns[0]), cells, self.columns[0], "missing", "missing value")
        tokens = np.zeros((len(texts), self.longest), dtype=np.int64)
        lengths = np.ones(len(texts), dtype=np.int64)
        for index, text in enumerate(texts):
            ids = self._encoded(text)
            tokens[index, : len(ids)] = ids
            lengths[index] = max(1, len(ids))
        return tokens, lengths

    def _encoded(self, text: str) -> NDArray[np.int64] | list[int]:
        text = text.lower() if self.lowercase else text
        if self.vocabulary == "byte":
            # A character has at least one byte: no more characters than that need be looked at.
            data = text[: self.longest].encode(errors="replace")[: self.longest]
            return np.frombuffer(data, dtype=np.uint8).astype(np.int64) + _FIRST
        return [self._ids.get(word, _UNKNOWN) for word in _words(text, self.longest)]


class TextFit:
    """Learns a `TextEncoding` from training rows, chunk by chunk."""

    def __init__(
        self,
        column: str,
        vocabulary: Literal["byte", "word"],
        size: int,
        longest: int,
        *,
        lowercase: bool,
        has_missing: bool = True,
    ) -> None:
        """Begin.

        Args:
            column: the column of texts.
            vocabulary: of bytes or of words.
            size: words at most.
            longest: tokens of a text at most; fewer when no training row has as many.
            lowercase: whether texts are read in small letters.
            has_missing: whether a missing text is read as an empty one.
        """
        self._column = column
        self._vocabulary: Literal["byte", "word"] = vocabulary
        self._size = size
        self._longest = longest
        self._lowercase = lowercase
        self._has_missing = has_missing
        self._counts: Counter[str] = Counter()
        self._seen = 1

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        for given in cells.texts(self._column):
            text = given.lower() if self._lowercase else given
            if self._vocabulary == "byte":
                length = len(text[: self._longest].encode(errors="replace"))
            else:
                words = _words(text, self._longest)
                self._counts.update(words)
                length = len(words)
            self._seen = max(self._seen, length)

    def finish(self) -> TextEncoding:
        """What was learned."""
        # Words beyond `longest` are cut off before they are counted: the network never sees them.
        by_frequency = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return TextEncoding(
            columns=(self._column,),
            vocabulary=self._vocabulary,
            words=tuple(word for word, _ in by_frequency[: self._size]),
            lowercase=self._lowercase,
            longest=min(self._longest, self._seen),
            has_missing=self._has_missing,
        )


def _words(text: str, most: int) -> list[str]:
    found: list[str] = []
    for match in WORD.finditer(text):
        if len(found) == most:
            break
        found.append(match.group())
    return found
