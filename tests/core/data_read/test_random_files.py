"""Random and damaged files: whatever the bytes, the answer is a table or a DataError."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import zipfile
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from softreg_core.data.formats.image_cells import decode_image
from softreg_core.data.formats.sound_cells import decode_sound
from softreg_core.data.parse import parse_file
from softreg_core.data.request import FileFormat, ParseLimits
from softreg_core.data.table import Table, _is_stored
from softreg_core.errors import DataError

CSV = b'a,b,"c d"\n1,x,2.5\n-3,"y ""z""",\n4,,1e999\n'
LIMITS = ParseLimits(unpacked_bytes=2**22)


def _npz(compress: bool, shape: tuple[int, ...] = (4, 3), **arrays) -> bytes:
    buffer = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    features = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    save(buffer, features=features, target=np.array([0, 1, 0, 1]), **arrays)
    return buffer.getvalue()


def _image(file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, file_format, **options)
    return buffer.getvalue()


def _sound(file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(size=900) * 0.1, 8000, format=file_format, **options)
    return buffer.getvalue()


IMAGES = [
    *map(_image, ("PNG", "JPEG", "GIF", "BMP", "WEBP")),
    _image("JPEG", progressive=True),
    _image("PNG", optimize=True),
]
SOUNDS = [*map(_sound, ("WAV", "FLAC", "OGG")), _sound("WAV", subtype="FLOAT"), _sound("WAV", subtype="IMA_ADPCM")]
TSV = CSV.replace(b",", b"\t")
_CELL = {"i": {"image": base64.b64encode(IMAGES[0]).decode()}, "s": {"sound": base64.b64encode(SOUNDS[0]).decode()}}
JSONL = b"\n".join(
    json.dumps(row).encode()
    for row in ({"n": 1.5, "b": True, "t": "größe", "q": [1, 2], "p": [[1, 2], [3, 4]], **_CELL}, {"n": None, "q": []})
)


def _parquet(**options) -> bytes:
    buffer = io.BytesIO()
    table = pa.table(
        {
            "n": [1.5, None, 2.5, float("nan")],
            "t": ["a", None, "b" * 300, ""],
            "k": pa.array(["x", "y", "x", None]).dictionary_encode(),
            "q": [[1.0, 2.0], [], None, [3.0]],
            "p": [[[1, 2], [3, 4]], None, [[5, 6]], []],
            "f": pa.array([[1, 2], None, [3, None], [5, 6]], pa.list_(pa.int16(), 2)),
            "i": [{"bytes": IMAGES[0], "path": None}, None, {"bytes": IMAGES[1], "path": "x"}, None],
            "s": [None, SOUNDS[1], SOUNDS[0], None],
        }
    )
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


PARQUET = [
    _parquet(compression="none"),
    _parquet(compression="zstd", row_group_size=2),
    _parquet(compression="snappy", data_page_version="2.0", use_dictionary=False),
    _parquet(compression="gzip", write_page_index=True),
]
NPZ = [_npz(False), _npz(True), _npz(False, (4, 3, 2), lengths=np.array([1, 2, 3, 1])), _npz(True, (4, 1, 5, 2))]
WHOLE = {"csv": [CSV], "tsv": [TSV], "jsonl": [JSONL], "parquet": PARQUET, "npz": NPZ}


def _with_header(text: str) -> bytes:
    """An archive of one array whose header is this text."""
    buffer = io.BytesIO()
    header = text.encode("utf-8", "replace") + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    return buffer.getvalue()


@st.composite
def damaged(draw, wholes):
    """One of the files with a few bytes overwritten, cut out, put in, or its end missing."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        patch = draw(
            st.binary(max_size=4) | st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\n", b'"', b",", b"\r"])
        )
        cut = draw(st.sampled_from([0, 1, len(patch), len(content)]))
        content[at : at + cut] = patch
    return bytes(content)


def outcome(read, content, **options):
    """The reason of the refusal, or the number of rows of a table that agrees with its own report."""
    try:
        table = read(content, **options)
    except DataError as error:
        return error.reason
    report = table.report
    assert table.report_json(LIMITS)
    known = Table(report, table.tensors)
    for column in report.columns:
        if column.tensor is not None:
            assert _is_stored(column, table.tensors, report.rows)
        if column.kind in ("text", "image", "sound", "sequence") and column.tensor is not None:
            assert len(getattr(known, f"{column.kind}s")(column.name, range(report.rows))) == report.rows
        assert all(1 <= row <= report.rows for flaw in column.flaws for row in flaw.first_rows)
    return report.rows


@given(st.binary(max_size=200) | st.text('abc,"\r\n\t;01.eE-+ \0é', max_size=80).map(str.encode) | damaged([CSV]))
@settings(max_examples=400)
@example(CSV)
def test_any_bytes_as_csv(csv_table, content):
    outcome(csv_table, content)


@given(st.binary(max_size=100).map(lambda tail: b"PK\x03\x04" + tail) | damaged(NPZ))
@settings(max_examples=400)
@example(_npz(True))
def test_any_bytes_as_npz(npz_table, content):
    outcome(npz_table, content, limits=LIMITS)


@given(
    st.text("{}[]()'\",:<>|fiubOVU0123456789-L descrfortran_ordershapeTrueFalse", max_size=80)
    | st.builds(
        "{{'descr': {!r}, 'fortran_order': {}, 'shape': {!r}, }}".format,
        st.text("<>|=fiubOSUVMmc0123456789", min_size=1, max_size=5) | st.lists(st.tuples(st.text(), st.text())),
        st.booleans(),
        st.lists(st.integers(-2, 2**70), max_size=4).map(tuple),
    )
)
@settings(max_examples=400)
def test_any_header_of_an_array(npz_table, text):
    outcome(npz_table, _with_header(text), limits=LIMITS)


@given(
    st.text('abc,"\r\n\t;01.eE-+ \0é', max_size=80).map(str.encode)
    | damaged([TSV]).filter(lambda data: b"\0" not in data)
)
@settings(max_examples=100)
def test_any_bytes_as_tsv(tsv_table, content):
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    outcome(tsv_table, text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["image", "sound", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(
    st.binary(max_size=100)
    | st.text('{}[]",:ab01.eE-+\\u\n tfn', max_size=80).map(str.encode)
    | damaged([JSONL])
    | st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=4).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    )
)
@settings(max_examples=400)
@example(JSONL)
def test_any_bytes_as_jsonl(jsonl_table, content):
    outcome(jsonl_table, content)


@given(damaged(IMAGES))
@settings(max_examples=300)
def test_any_damaged_image(content):
    try:
        pixels, _ = decode_image(content, ParseLimits(image_pixels=2**20))
    except DataError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[0] in (1, 3)
    assert max(pixels.shape) <= 512


@given(damaged(SOUNDS))
@settings(max_examples=300)
def test_any_damaged_sound(content):
    try:
        samples, rate = decode_sound(content, ParseLimits(sound_seconds=10.0))
    except DataError:
        return
    assert 0 < len(samples) <= 10 * rate


# In a process of its own: Arrow is C++, and what a damaged file makes it do must not end the tests.
PROGRAM = """
import io, json, resource, sys
import numpy as np
from softreg_core.data.read import _reader
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

file_format, wholes, first, last, seed = json.loads(sys.stdin.read())
read = _reader(file_format)
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
wholes = [bytes.fromhex(whole) for whole in wholes]
for case in range(first, last):
    print(case, end=" ", flush=True)
    random = np.random.default_rng([seed, case])
    data = bytearray(wholes[case % len(wholes)])
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(0, max(1, len(data))))
        match int(random.integers(0, 5)):
            case 0:
                data[at:at + 1] = bytes([int(random.integers(0, 256))])
            case 1:
                data[at:at + 4] = random.bytes(4)
            case 2 if data:
                data[at] ^= 1 << int(random.integers(0, 8))
            case 3:
                del data[at:at + int(random.integers(1, 40))]
            case 4 if random.integers(0, 4) == 0:
                del data[at:]
    try:
        table = read(io.BytesIO(data), ParseLimits(unpacked_bytes=2**24, image_pixels=2**20, sound_seconds=10.0))
        table.report_json(ParseLimits())
        print("rows", flush=True)
    except (DataError, MemoryError) as error:
        print(getattr(error, "reason", "too_expensive"), flush=True)
    except Exception as error:
        print("UNTYPED", repr(error)[:200], flush=True)
"""
_CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS}
"""What `softreg_core.data.parse` calls too expensive: the child's end is the file's refusal."""


def damaged_outcomes(file_format: str, cases: int, seed: int) -> list[str]:
    found: list[str] = []
    wholes = [whole.hex() for whole in WHOLE[file_format]]
    while len(found) < cases:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps([file_format, wholes, len(found), cases, seed]),
            capture_output=True,
            text=True,
            check=False,
            env={"ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONPATH": ":".join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        )
        lines = [line.split(" ", 1)[1] for line in done.stdout.splitlines()]
        assert done.returncode == 0 or done.returncode in _CRASHES, done.stderr[-2000:]
        found += [line or "crash" for line in lines]
    return found


@pytest.mark.parametrize("whole", PARQUET)
def test_the_files_that_are_damaged_below_are_whole(parquet_table, whole):
    assert outcome(parquet_table, whole) == 4


def test_any_damaged_parquet_file_is_a_table_or_a_typed_error():
    found = damaged_outcomes("parquet", 150, seed=1)
    assert not [line for line in found if line.startswith("UNTYPED")]
    assert "torn" in found


@pytest.mark.long
@pytest.mark.parametrize("file_format", get_args(FileFormat))
def test_any_damaged_file_is_a_table_or_a_typed_error_at_length(file_format):
    found = damaged_outcomes(file_format, 5000, seed=2)
    assert not [line for line in found if line.startswith("UNTYPED")]
    assert len(set(found)) > 3


STARTS = {"npz": b"PK\x03\x04", "parquet": b"PAR1", "jsonl": b'{"a": 1}\n'}


@pytest.mark.parametrize("file_format", get_args(FileFormat))
@pytest.mark.parametrize("seed", range(2))
def test_noise_through_the_child_is_a_typed_error(tmp_path, file_format, seed):
    source = tmp_path / "noise"
    start = STARTS.get(file_format, b"a,b\n")
    end = b"PAR1" if file_format == "parquet" else b""
    source.write_bytes(start + np.random.default_rng(seed).bytes(5000) + end)
    with pytest.raises(DataError) as caught:
        parse_file(source, format=file_format, output=tmp_path / "table")
    assert caught.value.reason not in ("unreadable", "too_expensive")
