"""One encoded sound as samples, by libsndfile, under limits; torch-free.

WAV, FLAC and Ogg are told by their content. The channels are averaged; samples are float32, from -1 to 1 unless the
file has floats beyond.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["decode_sound", "is_sound"]

_FRAMES_PER_BLOCK = 2**16
_FORMATS = ("WAV", "WAVEX", "FLAC", "OGG")
_MOST_CHANNELS = 32
_UNKNOWN_LENGTHS = (0, 0xFFFFFFFF)
"""What writers put into a header before they know how much will follow."""


def is_sound(data: bytes) -> bool:
    """Whether the first bytes are those of a format that is taken."""
    return (data[:4] == b"RIFF" and data[8:12] == b"WAVE") or data[:4] in (b"fLaC", b"OggS")


def decode_sound(data: bytes, limits: ParseLimits) -> tuple[NDArray[np.float32], int]:
    """Samples (S,) of the averaged channels, and how many make a second.

    Raises:
        DataError: the sound is broken, of another format, or longer than the limits; without row and column.
    """
    if not is_sound(data):
        raise DataError("the sound is no WAV, FLAC or Ogg", "sound")
    if {b"RIFF": _is_wav_cut_off, b"OggS": _is_ogg_cut_off}.get(data[:4], lambda _: False)(data):
        raise DataError("the sound ends before its header says", "sound")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in _FORMATS or not 1 <= file.channels <= _MOST_CHANNELS:
                raise DataError("the sound is no WAV, FLAC or Ogg of 1 to 32 channels", "sound")
            if not 1 <= file.samplerate <= limits.sound_rate:
                raise DataError(f"the sound has more than {limits.sound_rate} samples a second", "sound")
            samples = _samples(file, limits)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as error:
        raise DataError("the sound is damaged, or of a format that is not taken", "sound") from error
    return samples, file.samplerate


def _samples(file: soundfile.SoundFile, limits: ParseLimits) -> NDArray[np.float32]:
    """Read to the end, block by block: what the header says of the length is not believed, but must come true."""
    most = int(limits.sound_seconds * file.samplerate)
    buffer = np.empty((_FRAMES_PER_BLOCK, file.channels), dtype=np.float32)
    blocks: list[NDArray[np.float32]] = []
    count = 0
    while len(frames := file.read(out=buffer)):
        count += len(frames)
        if count > most:
            raise DataError(f"the sound lasts longer than {limits.sound_seconds:g} s", "sound_too_long")
        # A copy in any case: the buffer is used again.
        blocks.append(frames[:, 0].copy() if file.channels == 1 else frames.mean(axis=1, dtype=np.float32))
    if not count:
        raise DataError("the sound has no samples", "sound")
    if file.frames > count:
        raise DataError("the sound ends before its header says", "sound")
    return np.concatenate(blocks)


def _is_wav_cut_off(data: bytes) -> bool:
    """Whether the samples of a WAV file are fewer than its header says; libsndfile reads what is left of one."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            return length not in _UNKNOWN_LENGTHS and at + 8 + length > len(data)
        at += 8 + length + length % 2
    return True


def _is_ogg_cut_off(data: bytes) -> bool:
    """Whether the last page is not whole, or does not say that it is the last (RFC 3533, section 6)."""
    page = data[data.rfind(b"OggS") :]
    if len(page) < 27:
        return True
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return len(page) < length or not page[5] & 0x04
