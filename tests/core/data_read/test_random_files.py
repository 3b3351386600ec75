"""Random and damaged files: whatever the bytes, the answer is a table or a DataError."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from softreg_core.data.parse import parse_file
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

CSV = b'a,b,"c d"\n1,x,2.5\n-3,"y ""z""",\n4,,1e999\n'
LIMITS = ParseLimits(unpacked_bytes=2**22)


def _npz(compress: bool) -> bytes:
    buffer = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, features=np.arange(12, dtype=np.float32).reshape(4, 3), target=np.array([0, 1, 0, 1]))
    return buffer.getvalue()


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
    for tensor in table.tensors.values():
        assert tensor.shape[0] == report.rows
    for column in report.columns:
        if column.tensor is not None:
            assert column.position < table.tensors[column.tensor].shape[1]
        assert all(1 <= row <= report.rows for flaw in column.flaws for row in flaw.first_rows)
    return report.rows


@given(st.binary(max_size=200) | st.text('abc,"\r\n\t;01.eE-+ \0é', max_size=80).map(str.encode) | damaged([CSV]))
@settings(max_examples=400)
@example(CSV)
def test_any_bytes_as_csv(csv_table, content):
    outcome(csv_table, content)


@given(st.binary(max_size=100).map(lambda tail: b"PK\x03\x04" + tail) | damaged([_npz(False), _npz(True)]))
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


@pytest.mark.parametrize("file_format", ["csv", "npz"])
@pytest.mark.parametrize("seed", range(3))
def test_noise_through_the_child_is_a_typed_error(tmp_path, file_format, seed):
    source = tmp_path / "noise"
    start = b"PK\x03\x04" if file_format == "npz" else b"a,b\n"
    source.write_bytes(start + np.random.default_rng(seed).bytes(5000))
    with pytest.raises(DataError) as caught:
        parse_file(source, format=file_format, output=tmp_path / "table")
    assert caught.value.reason not in ("unreadable", "too_expensive")
