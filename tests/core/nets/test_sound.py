"""Log-mel spectra inside a network against scipy's transform and against waves that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from softreg_core.mel import log_mel, mel_filters
from softreg_core.nets import build_net
from softreg_core.nets.fronts.sound import LogMel
from softreg_core.spec import TrainSpec
from softreg_core.spec.inputs import SoundShape

_SPEECH = SoundShape(rate=16_000, longest=16_000, window=400, hop=160, mels=40)


def reference(wave_S, shape):
    """Power of scipy's short-time transform of windows that begin at multiples of the hop, in float64."""
    frames = -(-len(wave_S) // shape.hop)
    padded = np.pad(wave_S.astype(np.float64), (0, shape.window))
    window = hann(shape.window, sym=False)
    transform = ShortTimeFFT(window / window.sum(), shape.hop, shape.rate)
    # Slice p is centred at sample p * hop: shifted by half a window, it begins there.
    centred = np.pad(padded, (shape.window // 2, 0))[shape.window // 2 :]
    columns = [
        transform.stft_detrend(centred[start : start + shape.window], None, p0=0, p1=1, k_offset=shape.window // 2)
        for start in range(0, frames * shape.hop, shape.hop)
    ]
    power_TF = np.abs(np.stack([column[:, 0] for column in columns])) ** 2
    return np.log(np.maximum(power_TF @ mel_filters(shape).astype(np.float64), 1e-8))


@pytest.mark.parametrize("shape", [_SPEECH, SoundShape(rate=8000, longest=999, window=255, hop=100, mels=17)])
def test_the_spectrum_is_scipy_s(shape):
    generator = np.random.default_rng(0)
    seconds = np.arange(shape.longest) / shape.rate
    wave = 0.5 * np.sin(2 * math.pi * 440 * seconds) + 0.01 * generator.normal(size=shape.longest)
    wave = wave.astype(np.float32)
    got, mask = LogMel(shape)(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
    wanted = reference(wave, shape)
    assert mask.all()
    assert got.shape[1:] == wanted.shape
    np.testing.assert_allclose(got[0].numpy(), wanted, atol=2e-3)
    np.testing.assert_allclose(log_mel(wave, shape), wanted, atol=1e-9)


def test_a_tone_is_in_the_band_of_its_pitch_and_as_loud_as_it_is():
    bands = []
    for hertz in (300, 1000, 4000):
        wave = torch.sin(2 * math.pi * hertz * torch.arange(16_000) / 16_000)[None]
        spectrum, _ = LogMel(_SPEECH)(wave, torch.tensor([16_000]))
        halved, _ = LogMel(_SPEECH)(wave / 2, torch.tensor([16_000]))
        band = int(spectrum[0, 20].argmax())
        bands.append(band)
        assert (spectrum - halved)[0, 20, band].item() == pytest.approx(math.log(4), abs=1e-3)
        # The power of a full sine is 1/4; beside it, and in its band, are the frequencies that the window smears.
        assert -2.2 < spectrum[0, 20, band].item() < -0.7
    centres = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 42)[1:-1] / 2595) - 1)
    for hertz, band in zip((300, 1000, 4000), bands, strict=True):
        assert abs(int(np.abs(centres - hertz).argmin()) - band) <= 1


def test_silence_is_the_floor_and_no_band_is_empty():
    spectrum, _ = LogMel(_SPEECH)(torch.zeros(1, 800), torch.tensor([800]))
    assert torch.allclose(spectrum, torch.tensor(math.log(1e-8)))
    crowded = SoundShape(rate=16_000, longest=1000, window=64, hop=32, mels=33)
    assert (mel_filters(crowded).sum(axis=0) > 0).all()


def test_frames_begin_at_every_hop_within_the_row():
    front = LogMel(_SPEECH)
    for samples, frames in ((1, 1), (160, 1), (161, 2), (1600, 10)):
        spectrum, mask = front(torch.zeros(1, 2000), torch.tensor([samples]))
        assert spectrum.shape[1] == 13
        assert mask.sum().item() == frames


def test_statistics_scale_the_bands_and_are_stored_with_the_weights():
    spec = TrainSpec.model_validate({"net": {"kind": "linear"}}).net
    mean, std = np.linspace(-9, -3, 40), np.linspace(0.5, 2, 40)
    std[3] = 0.0
    net = build_net(spec, _SPEECH, 2, seed=0, statistics={"mean": mean, "std": std})
    stored = net.state_dict()
    assert set(stored) == {"front.mean", "front.std", "output.weight", "output.bias"}
    assert stored["front.std"][3] == 1.0
    wave, length = torch.rand(1, 400), torch.tensor([400])
    plain = build_net(spec, _SPEECH, 2, seed=0).front(wave, length)[0]
    wanted = (plain - torch.tensor(mean, dtype=torch.float32)) / stored["front.std"]
    torch.testing.assert_close(net.front(wave, length)[0], wanted)


@pytest.mark.parametrize("statistics", [{"mean": np.zeros(39)}, {"median": np.zeros(40)}])
def test_statistics_that_have_no_place_are_refused(statistics):
    spec = TrainSpec.model_validate({"net": {"kind": "linear"}}).net
    with pytest.raises(ValueError, match="the network has"):
        build_net(spec, _SPEECH, 2, seed=0, statistics=statistics)


def test_the_transform_stays_in_float32_under_autocast():
    wave = torch.sin(torch.arange(1600) * 0.3)[None]
    front, length = LogMel(_SPEECH), torch.tensor([1600])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = front(wave, length)[0]
    assert torch.equal(inside, front(wave, length)[0])
