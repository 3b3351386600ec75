"""The mel scale, and log-mel spectra of whole sounds; NumPy only.

The network of a sound job makes its spectra itself (softreg_core.nets.fronts.sound); these are for the statistics of
the training rows, which are learned where torch is not, and are the twin of that network's in its tests.
"""

# S samples, T frames, W samples of a window, F frequencies, M bands

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from softreg_core.spec.inputs import SoundShape

__all__ = ["POWER_FLOOR", "log_mel", "mel_filters"]

POWER_FLOOR = 1e-8
"""Power of a sine of amplitude 1 is 1/4 here. -80 decibels below full scale is about silence."""


def log_mel(samples_S: NDArray[np.float32], shape: SoundShape) -> NDArray[np.float64]:
    """ln(max(1e-8, sum_f filter_mf |sum_s hann_s x_(t hop + s) exp(-2 pi i f s / W)|^2 / (sum_s hann_s)^2)), (T, M).

    Frame t begins at sample t * hop, as long as there are samples; what a window has beyond the end is silence.
    """
    hann_W = 0.5 - 0.5 * np.cos(2.0 * math.pi * np.arange(shape.window) / shape.window)
    begins_T = np.arange(0, samples_S.size, shape.hop)
    padded = np.concatenate([samples_S.astype(np.float64), np.zeros(shape.window)])
    windows_TW = np.lib.stride_tricks.sliding_window_view(padded, shape.window)[begins_T]
    spectrum_TF = np.fft.rfft(windows_TW * (hann_W / hann_W.sum()), axis=1)
    power_TM = (spectrum_TF.real**2 + spectrum_TF.imag**2) @ mel_filters(shape).astype(np.float64)
    return np.log(np.maximum(power_TM, POWER_FLOOR))


def mel_filters(shape: SoundShape) -> NDArray[np.float32]:
    """(F, M): triangles that are evenly spaced in mel = 2595 log10(1 + hertz / 700), each 1 at its centre.

    A band that is narrower than the distance of two frequencies has its nearest one.

    Source: the mel scale of HTK (O'Shaughnessy 1987).
    """
    frequency_F = np.arange(shape.window // 2 + 1) * shape.rate / shape.window
    top = 2595.0 * math.log10(1.0 + shape.rate / 2.0 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, shape.mels + 2) / 2595.0) - 1.0)
    left_M, centre_M, right_M = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequency_F[:, None] - left_M) / (centre_M - left_M)
    falling = (right_M - frequency_F[:, None]) / (right_M - centre_M)
    filters_FM = np.minimum(rising, falling).clip(min=0.0)
    for band in np.flatnonzero(filters_FM.sum(axis=0) == 0.0):
        filters_FM[np.abs(frequency_F - centre_M[band]).argmin(), band] = 1.0
    filters_32: NDArray[np.float32] = filters_FM.astype(np.float32)
    return filters_32
