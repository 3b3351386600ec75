"""Waveforms as log-mel spectra, inside the network."""

# B examples, S samples, T frames, W samples of a window, F frequencies, M bands

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from softreg_core.mel import POWER_FLOOR, mel_filters
from softreg_core.nets.fronts.scale import Scaled
from softreg_core.nets.fronts.steps import within
from softreg_core.spec.inputs import SoundShape

__all__ = ["LogMel", "LogMelMap"]


class LogMel(Scaled):
    """ln(max(1e-8, sum_f filter_mf |sum_s hann_s x_(t hop + s) exp(-2 pi i f s / W)|^2 / (sum_s hann_s)^2)), scaled.

    Frame t begins at sample t * hop; what a window has beyond the row's end is silence, so that padding does not
    matter. The transform is one product of matrices in float32, whatever autocast says: in bfloat16 the loud bands
    would drown the quiet ones; and products export where transforms with complex numbers do not.

    Twin: `softreg_core.mel.log_mel`, which the statistics come from.
    """

    kernels: Tensor
    filters: Tensor
    offsets: Tensor

    def __init__(self, shape: SoundShape, halvings: int = 0) -> None:
        super().__init__(shape.mels)
        # An exported network would refuse sounds of which, after so many halvings, less than two frames were left.
        self.spare = 2**halvings
        self.hop = shape.hop
        self.window = shape.window
        # They follow from the shape and are not stored.
        self.register_buffer("kernels", torch.from_numpy(_kernels(shape.window)), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(shape)), persistent=False)
        self.register_buffer("offsets", torch.arange(shape.window), persistent=False)

    def forward(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """float32 and int64; (B, T, M), and which frames begin within a row, (B, T)."""
        bands_BTM, mask_BT = self.spectrum(waveform_BS, lengths_B)
        return (bands_BTM - self.mean) / self.std, mask_BT

    def spectrum(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, without the scaling."""
        device = waveform_BS.device.type
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._spectrum(waveform_BS, lengths_B)
        return self._spectrum(waveform_BS, lengths_B)

    def _spectrum(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        samples = waveform_BS.shape[1]
        heard_BS = waveform_BS.to(self.kernels.dtype) * within(lengths_B, samples)
        spare = self.spare if torch.compiler.is_exporting() else 0
        frames = (samples + self.hop - 1) // self.hop + spare
        begins_T = torch.arange(frames, device=lengths_B.device) * self.hop
        at_TW = begins_T.unsqueeze(1) + self.offsets
        padded_BS = F.pad(heard_BS, (0, self.window + spare * self.hop))
        windows_BTW = padded_BS.index_select(1, at_TW.flatten()).view(-1, frames, self.window)
        real_BTF, imaginary_BTF = (windows_BTW @ self.kernels).chunk(2, dim=2)
        power_BTM = (real_BTF.square() + imaginary_BTF.square()) @ self.filters
        # Not power + floor: exporting to ONNX takes so small a number for 0 and leaves it out.
        return torch.log(power_BTM.clamp(min=POWER_FLOOR)), within((lengths_B + self.hop - 1) // self.hop, frames)


class LogMelMap(LogMel):
    """The spectrum as an image of one channel, time from top to bottom."""

    def forward(self, waveform_BS: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, T, M), and the mask of its rows, (B, 1, T, 1), ones and zeros."""
        bands_BTM, mask_BT = super().forward(waveform_BS, lengths_B)
        return bands_BTM.unsqueeze(1), mask_BT[:, None, :, None].to(bands_BTM.dtype)


def _kernels(window: int) -> NDArray[np.float32]:
    """(W, 2 F): cosines, then sines, under a periodic Hann window whose sum is 1."""
    sample_W1 = np.arange(window)[:, None]
    hann_W1 = 0.5 - 0.5 * np.cos(2.0 * math.pi * sample_W1 / window) if window > 1 else np.ones((1, 1))
    # Whole turns left out before the cosine is taken: its argument would lose digits.
    angle_WF = 2.0 * math.pi / window * (sample_W1 * np.arange(window // 2 + 1) % window)
    both = np.concatenate([np.cos(angle_WF), -np.sin(angle_WF)], axis=1)
    kernels: NDArray[np.float32] = (hann_W1 / hann_W1.sum() * both).astype(np.float32)
    return kernels
