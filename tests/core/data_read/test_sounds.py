"""Encoded sounds: what becomes of each kind, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from softreg_core.data.formats.sound_cells import decode_sound, is_sound
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

LIMITS = ParseLimits()
TONE = 0.5 * np.sin(np.arange(4000) / 5.0).astype(np.float32)


def refusal(data, limits=LIMITS):
    with pytest.raises(DataError) as caught:
        decode_sound(data, limits)
    return caught.value.reason


@pytest.mark.parametrize(
    ("file_format", "subtype", "most"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "FLOAT", 0.0),
        ("WAV", "PCM_U8", 1e-2),
        ("FLAC", "PCM_24", 1e-6),
        ("OGG", "VORBIS", 0.1),
    ],
)
def test_samples_and_rate_come_back(sound_bytes, file_format, subtype, most):
    data = sound_bytes(TONE, 16000, file_format, subtype=subtype)
    assert is_sound(data)
    samples, rate = decode_sound(data, LIMITS)
    assert (samples.dtype, rate, len(samples)) == (np.float32, 16000, len(TONE))
    assert np.abs(samples - TONE).max() <= most


def test_channels_are_averaged(sound_bytes):
    both = np.stack([TONE, np.zeros_like(TONE)], axis=1)
    samples, _ = decode_sound(sound_bytes(both, subtype="FLOAT"), LIMITS)
    assert np.allclose(samples, TONE / 2, atol=1e-7)


def test_a_sound_that_lasts_too_long_is_refused_whatever_its_header_says(sound_bytes):
    limits = ParseLimits(sound_seconds=0.25)
    assert refusal(sound_bytes(TONE), limits) == "sound_too_long"
    assert len(decode_sound(sound_bytes(TONE[:2000]), limits)[0]) == 2000
    assert refusal(sound_bytes(TONE, 500_000)) == "sound"


def test_a_header_that_promises_more_is_a_sound_cut_off(sound_bytes):
    data = bytearray(sound_bytes(TONE))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 2**31)
    assert refusal(bytes(data)) == "sound"


def test_a_recording_whose_writer_never_knew_its_length_is_read(sound_bytes):
    data = bytearray(sound_bytes(TONE))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert len(decode_sound(bytes(data), LIMITS)[0]) == len(TONE)


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG"])
def test_a_sound_that_is_cut_off_is_refused(sound_bytes, file_format):
    data = sound_bytes(np.random.default_rng(0).normal(size=20_000) * 0.1, 8000, file_format)
    for size in (4, 20, len(data) // 2, len(data) * 9 // 10):
        assert refusal(data[:size]) == "sound"


def test_no_samples_are_no_sound(sound_bytes):
    assert refusal(sound_bytes(TONE[:0])) == "sound"


@pytest.mark.parametrize("file_format", ["AIFF", "AU", "CAF", "MP3", "W64"])
def test_another_format_is_refused_whatever_libsndfile_could(sound_bytes, file_format):
    data = sound_bytes(TONE, 44100, file_format)
    assert not is_sound(data)
    assert refusal(data) == "sound"
