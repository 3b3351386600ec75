"""Images, texts, sounds and sequences as tensors: sizes, vocabularies, rates and statistics of the training rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from softreg_core.data.cells import RawCells, TableCells
from softreg_core.data.encode.image import ImageEncoding, ImageFit
from softreg_core.data.encode.sequence import SequenceFit
from softreg_core.data.encode.sound import SoundFit, resampled
from softreg_core.data.encode.text import WORD, TextEncoding, TextFit
from softreg_core.data.formats.flat_columns import Images, Sequences, Sounds, Texts
from softreg_core.data.report import DatasetReport
from softreg_core.data.table import Table
from softreg_core.errors import DataError
from softreg_core.mel import log_mel
from softreg_core.spec.inputs import SoundShape


def table_of(flat, rows):
    report = DatasetReport(format="jsonl", rows=rows, columns=(flat.report("flat.0"),))
    return Table(report, {f"flat.0{suffix}": values for suffix, values in flat.tensors.items()})


def learned(fit, *chunks):
    for chunk in chunks:
        fit.add(chunk)
    return fit.finish()


def raw(cells):
    return RawCells({"x": cells})


# Texts


def test_words_are_the_most_frequent_of_the_training_rows_and_ties_go_by_text():
    texts = Texts()
    for text in ("B a b", "a c, c d", "only in validation"):
        texts.add(text)
    cells = TableCells(table_of(texts.finish("x", None), 3), np.array([0, 1]))
    encoding = learned(TextFit("x", "word", 3, 10, lowercase=True), cells)
    assert encoding.words == ("a", "b", "c")
    assert encoding.shape.model_dump() == {"kind": "text", "vocabulary": 5, "longest": 5}
    tokens, lengths = encoding.arrays(raw(["A b!", "", "c c c c c c"]))
    assert tokens.tolist() == [[2, 3, 1, 0, 0], [0] * 5, [4] * 5]
    assert lengths.tolist() == [3, 1, 5]
    assert TextEncoding.model_validate_json(encoding.model_dump_json()) == encoding


def test_words_of_every_script_and_marks_are_found():
    assert WORD.findall("Grüße, 世界! it's\t_x1") == ["Grüße", ",", "世界", "!", "it", "'", "s", "_x1"]


def test_bytes_need_no_vocabulary():
    encoding = learned(TextFit("x", "byte", 1, 6, lowercase=False), raw(["abc", "é"]))
    assert encoding.shape.vocabulary == 258
    tokens, lengths = encoding.arrays(raw(["aé", "abcdefgh"]))
    assert tokens.tolist() == [[99, 0xC3 + 2, 0xA9 + 2], [99, 100, 101]]
    assert lengths.tolist() == [3, 3]


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=8), vocabulary=st.sampled_from(["byte", "word"]))
def test_any_text_becomes_ids_of_the_vocabulary(texts, vocabulary):
    encoding = learned(TextFit("x", vocabulary, 5, 12, lowercase=True), raw(texts))
    tokens, lengths = encoding.arrays(raw([*texts, "\ud800 never seen 99"]))
    assert tokens.min() >= 0
    assert tokens.max() < encoding.shape.vocabulary
    assert (lengths >= 1).all()
    assert (lengths <= encoding.longest).all()


def test_texts_learned_in_chunks_are_those_of_the_whole():
    texts = ["b a", "c b", "a a"]
    whole = learned(TextFit("x", "word", 9, 9, lowercase=True), raw(texts))
    assert learned(TextFit("x", "word", 9, 9, lowercase=True), *(raw([text]) for text in texts)) == whole


# Images


def test_images_of_many_sizes_become_one_and_keep_their_bytes():
    images = Images()
    random = np.random.default_rng(0)
    for size in ((1, 4, 4), (1, 8, 6), (1, 4, 4)):
        images.add(random.integers(0, 256, size, dtype=np.uint8))
    table = table_of(images.finish("x"), 3)
    encoding = learned(ImageFit(("x",), 1, 4, 4), TableCells(table, np.array([0, 2])))
    (pixels,) = encoding.arrays(TableCells(table))
    assert (pixels.shape, pixels.dtype) == ((3, 1, 4, 4), np.uint8)
    assert np.array_equal(pixels[0], table.images("x", [0])[0])
    wanted = Image.fromarray(table.images("x", [1])[0][0]).resize((4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels[1, 0], np.asarray(wanted))
    trained = pixels[[0, 2]] / 255.0
    assert encoding.statistics["mean"] == pytest.approx([trained.mean()], rel=1e-12)
    assert encoding.statistics["std"] == pytest.approx([trained.std()], rel=1e-12)
    assert ImageEncoding.model_validate_json(encoding.model_dump_json()).model_dump_json() == encoding.model_dump_json()


def test_colours_become_gray_as_pillow_has_it_and_gray_becomes_colours():
    colours = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    gray = learned(ImageFit(("x",), 1, 5, 7), raw([colours])).arrays(raw([colours]))[0]
    wanted = np.asarray(Image.fromarray(colours.transpose(1, 2, 0)).convert("L")).astype(int)
    assert np.abs(gray[0, 0].astype(int) - wanted).max() <= 1
    back = learned(ImageFit(("x",), 3, 5, 7), raw([colours])).arrays(raw([gray[0]]))[0]
    assert np.array_equal(back[0], np.repeat(gray[0], 3, axis=0))


def test_pictures_in_bytes_are_not_fed_to_a_model_of_other_numbers():
    encoding = learned(ImageFit(("x",), 1, 2, 2), raw([np.zeros((1, 2, 2), dtype=np.uint8)]))
    with pytest.raises(DataError) as caught:
        encoding.arrays(raw([np.full((1, 2, 2), 0.5)]))
    assert caught.value.column == "x"


def test_numbers_of_one_column_each_are_pixels_too():
    names = tuple(f"p{index}" for index in range(6))
    cells = RawCells({name: np.array([index, index + 10.0]) for index, name in enumerate(names)})
    encoding = learned(ImageFit(names, 1, 2, 3), cells)
    (pixels,) = encoding.arrays(cells)
    assert (pixels.dtype, pixels[0].tolist()) == (np.float32, [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]])
    assert encoding.statistics["mean"] == pytest.approx([7.5])


def test_digits_are_images_if_the_spec_says_so():
    from softreg_core.data.encode import begin_fit
    from softreg_core.data.sample import load_sample
    from softreg_core.spec import TrainSpec
    from softreg_core.spec.resolve.findings import Findings
    from softreg_core.spec.resolve.view import resolved_input

    table = load_sample("digits")
    spec = TrainSpec.model_validate({"task": {"input": {"kind": "image"}}})
    features = [column for column in table.report.columns if column.name != "target"]
    view, shape = resolved_input(spec, features, Findings())
    names = tuple(column.name for column in features)
    task = spec.task.model_copy(update={"input": view, "features": names})
    encoding = learned(begin_fit(spec.model_copy(update={"task": task}), table.report), TableCells(table))
    assert encoding.shape == shape
    (pixels,) = encoding.arrays(TableCells(table, np.array([0])))
    assert np.array_equal(pixels.ravel(), table.values(names)[0].astype(np.float32))


# Sounds

SHAPE = SoundShape(rate=8000, longest=4000, window=200, hop=80, mels=20)


def tone(hertz, rate, seconds, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def test_sounds_of_several_rates_are_heard_at_one_and_cut_or_padded():
    sounds = Sounds()
    for rate, seconds in ((16_000, 0.25), (8000, 1.0), (44_100, 0.1)):
        sounds.add(tone(440.0, rate, seconds), rate)
    cells = TableCells(table_of(sounds.finish("x"), 3))
    encoding = learned(SoundFit("x", SHAPE), cells)
    waveform, lengths = encoding.arrays(cells)
    assert (waveform.shape, waveform.dtype) == ((3, 4000), np.float32)
    assert lengths.tolist() == [2000, 4000, 800]
    assert (waveform[0, 2000:] == 0.0).all()
    inner = slice(300, 700)
    for row in range(3):
        assert np.abs(waveform[row, inner] - tone(440.0, 8000, 0.5)[inner]).max() < 0.01


@pytest.mark.parametrize("own_rate", [16_000, 44_100, 11_025, 7999])
def test_what_is_cut_off_does_not_change_what_is_kept(own_rate):
    from scipy.signal import resample_poly

    samples = np.random.default_rng(0).normal(size=own_rate).astype(np.float32)
    divisor = np.gcd(own_rate, 8000)
    whole = resample_poly(samples, 8000 // divisor, own_rate // divisor)
    assert np.allclose(resampled(samples, own_rate, 8000, 1000), whole[:1000], atol=1e-6)


def test_spectra_of_the_training_rows_give_the_statistics_of_each_band():
    random = np.random.default_rng(0)
    rows = [(random.normal(scale=0.1, size=size).astype(np.float32), 8000) for size in (900, 4000, 81)]
    encoding = learned(SoundFit("x", SHAPE), raw(rows[:2]), raw(rows[2:]))
    frames = np.concatenate([log_mel(samples, SHAPE) for samples, _ in rows])
    assert len(frames) == 12 + 50 + 2
    assert np.allclose(encoding.statistics["mean"], frames.mean(axis=0), rtol=1e-12)
    assert np.allclose(encoding.statistics["std"], frames.std(axis=0), rtol=1e-12)


def test_a_tone_is_loudest_in_its_own_band():
    bands = log_mel(tone(1000.0, 8000, 0.5), SHAPE)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, 2595.0 * np.log10(1 + 4000 / 700), 22) / 2595.0) - 1.0)
    assert abs(int(bands[5].argmax()) - int(np.abs(edges[1:-1] - 1000.0).argmin())) <= 1


@pytest.mark.parametrize(
    "cell", [(np.zeros(0), 8000), (np.array([np.nan]), 8000), np.zeros(5), (np.zeros((2, 2)), 8000), (np.zeros(5), 0)]
)
def test_what_is_no_sound_is_refused_by_row(cell):
    encoding = learned(SoundFit("x", SHAPE), raw([(tone(440.0, 8000, 0.2), 8000)]))
    with pytest.raises(DataError) as caught:
        encoding.arrays(raw([(tone(440.0, 8000, 0.2), 8000), cell]))
    assert (caught.value.row, caught.value.column) == (2, "x")


# Sequences


def test_sequences_are_padded_and_their_statistics_are_of_steps_that_are_there():
    sequences = Sequences(2, np.float64)
    for length in (2, 3, 1):
        sequences.add(np.arange(2.0 * length).reshape(length, 2))
    cells = TableCells(table_of(sequences.finish("x"), 3), np.array([0, 1]))
    encoding = learned(SequenceFit("x", 2, 9), cells)
    values, lengths = encoding.arrays(cells)
    assert (values.shape, values.dtype, lengths.tolist()) == ((2, 3, 2), np.float32, [2, 3])
    assert (values[0, 2] == 0.0).all()
    assert encoding.statistics["mean"] == pytest.approx([8 / 5, 13 / 5])


@pytest.mark.parametrize("cell", [np.zeros((0, 2)), np.zeros((3, 1)), np.full((1, 2), np.nan), np.full((1, 2), 1e39)])
def test_what_is_no_such_sequence_is_refused_by_row(cell):
    encoding = learned(SequenceFit("x", 2, 9), raw([np.ones((3, 2))]))
    with pytest.raises(DataError) as caught:
        encoding.arrays(raw([np.ones((1, 2)), cell]))
    assert (caught.value.row, caught.value.column) == (2, "x")
