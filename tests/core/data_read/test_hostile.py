"""Files that ask for too much, through the child that they meet in the service, and what the readers never touch."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import softreg_core
from softreg_core.data.parse import parse_file, read_table_file
from softreg_core.data.request import FileFormat, ParseLimits
from softreg_core.errors import DataError

MIB = 2**20
SMALL = ParseLimits(memory_bytes=384 * MIB)


@pytest.fixture
def refusal(tmp_path):
    """`refusal(bytes, "parquet", limits)`: why the child refuses the file; it must leave nothing behind."""

    def read(data: bytes, file_format, limits: ParseLimits = SMALL) -> DataError:
        source, output = tmp_path / "source", tmp_path / "table"
        source.write_bytes(data)
        with pytest.raises(DataError) as caught:
            parse_file(source, format=file_format, output=output, limits=limits)
        assert not output.exists()
        return caught.value

    return read


def written(columns, **options) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, compression="zstd", write_statistics=False, **options)
    return buffer.getvalue()


def test_the_decoders_fit_into_the_memory_that_a_bomb_does_not(tmp_path, image_bytes, sound_bytes):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = tmp_path / "t.parquet"
    path.write_bytes(
        written({"i": [image_bytes(pixels)] * 50, "s": [sound_bytes(np.zeros(80_000), 16000, "OGG")] * 50})
    )
    table = read_table_file(path, SMALL)
    assert np.array_equal(table.images("i", [49])[0], pixels.transpose(2, 0, 1))
    assert table.rates("s", [49]).tolist() == [16000]


BOMBS = {
    "a text": lambda: written({"x": pa.array(["a" * 100_000_000], pa.large_string())}),
    "bytes": lambda: written({"x": pa.array([b"BM" + b"a" * 100_000_000], pa.large_binary())}),
    "a list": lambda: written({"x": pa.array([np.zeros(40_000_000, np.float32)])}),
    "one text for every row": lambda: written(
        {"x": pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 1_000_000]))}
    ),
    "rows": lambda: written({f"x{i}": pa.array(np.zeros(500_000)) for i in range(40)}),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_small_parquet_file_that_unpacks_to_a_large_one_is_too_expensive(refusal, bomb):
    data = bomb()
    assert len(data) < 3 * MIB
    assert refusal(data, "parquet").reason == "too_expensive"


def test_rows_times_columns_are_bounded_before_they_are_read(refusal):
    wide = written({f"x{i}": pa.nulls(20_000) for i in range(100)})
    assert refusal(wide, "parquet", ParseLimits(cells=10**6)).reason == "too_large"
    header = json.dumps({f"x{i}": 1 for i in range(10_000)}).encode()
    sparse = header + b"\n{}" * 1000
    assert refusal(sparse, "jsonl", ParseLimits(cells=10**6)).reason == "too_large"


def test_more_processor_time_than_allowed_is_too_expensive(refusal, image_bytes):
    data = written({"i": [image_bytes(np.zeros((5000, 5000, 3), np.uint8))] * 100})
    assert len(data) < MIB
    assert refusal(data, "parquet", ParseLimits(cpu_seconds=1)).reason == "too_expensive"


def test_decoded_images_past_the_stored_size_are_too_expensive(refusal, image_bytes):
    flat = image_bytes(np.zeros((512, 512, 3), np.uint8))
    error = refusal(written({"i": [flat] * 100}), "parquet", ParseLimits(output_bytes=5 * MIB))
    assert (error.reason, error.row, error.column) == ("too_expensive", 7, "i")


def test_no_name_in_a_file_becomes_a_path(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(written({"../../evil": [1.0], "/etc/passwd": [[1.0]]}))
    table = read_table_file(path)
    assert set(table.tensors) == {"numbers", "flat.1", "flat.1.ends"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


WATCHED = """
import json, sys
source = json.loads(sys.argv[1])
allowed = (source["source"], source["output"], sys.prefix, sys.base_prefix, "/proc", "/sys", "/usr", "/lib", "/etc/ld")
def watch(event, arguments):
    if event in ("pickle.find_class", "socket.connect", "subprocess.Popen", "os.system"):
        print(event, file=sys.stderr)
    if event == "open" and confined and not str(arguments[0]).startswith(allowed):
        print(event, arguments[0], file=sys.stderr)
confined = False
from softreg_core.data import read
from softreg_core.data.request import ParseRequest
reader = read._reader(source["format"])
sys.addaudithook(watch)
confined = True
read.main(sys.argv[1:])
print()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "sklearn", "pandas"})))
"""


@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl", "parquet", "npz"])
def test_reading_opens_no_pickle_no_connection_and_no_other_file(tmp_path, image_bytes, file_format):
    source = tmp_path / "source"
    image = image_bytes(np.zeros((4, 4), np.uint8))
    arrays = io.BytesIO()
    np.savez(arrays, features=np.zeros((2, 3, 3)), target=np.arange(2))
    source.write_bytes(
        {
            "csv": b"a,b\n1,x\n",
            "tsv": b"a\tb\n1\tx\n",
            "jsonl": b'{"a": 1, "b": "x"}\n',
            "parquet": written({"i": [image], "t": ["x"], "d": pa.array(["x"]).dictionary_encode()}),
            "npz": arrays.getvalue(),
        }[file_format]
    )
    request = {
        "format": file_format,
        "source": str(source),
        "output": str(tmp_path / "table"),
        "limits": {},
        "parent_pid": os.getpid(),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(request)], capture_output=True, text=True, timeout=60, check=True
    )
    reply, modules = done.stdout.splitlines()
    assert "report" in json.loads(reply)
    assert json.loads(modules) == []
    assert done.stderr == ""


def arrow_names(source: str) -> set[str]:
    """The parts of pyarrow that a module names."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names if alias.name.startswith("pyarrow.")}
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "pyarrow":
                found |= {f"{module}.{alias.name}" for alias in names}
            case ast.Attribute(value=ast.Name(id="pa" | "pyarrow"), attr=name):
                found.add(f"pyarrow.{name}")
    return found


# What runs code or reaches beyond the file that is given: other files, other formats, user-defined functions and types.
_REACHING = {"dataset", "flight", "fs", "feather", "ipc", "memory_map", "orc", "plasma", "serialization", "substrait"}
_RUNNING = {"ExtensionType", "PyExtensionType", "register_extension_type", "deserialize", "foreign_buffer", "udf"}


def test_arrow_is_used_without_what_runs_code_or_reaches_other_files():
    root = Path(softreg_core.__file__).parent
    found = {name for path in root.rglob("*.py") for name in arrow_names(path.read_text())}
    assert "pyarrow.parquet" in found
    assert {name.split(".")[1] for name in found}.isdisjoint(_REACHING | _RUNNING)
    assert arrow_names("import pyarrow as pa\nimport pyarrow.fs\nfrom pyarrow import ipc\npa.memory_map") == {
        "pyarrow.fs",
        "pyarrow.ipc",
        "pyarrow.memory_map",
    }


def test_the_page_about_datasets_names_the_limits_and_every_format():
    page = (Path(softreg_core.__file__).parents[1] / "docs" / "datasets.md").read_text()
    limits = ParseLimits()
    for number in (
        limits.rows,
        limits.columns,
        limits.cells,
        limits.field_characters,
        limits.image_pixels,
        limits.image_side,
        limits.sound_rate,
        limits.steps,
    ):
        assert f"{number:,}" in page
    assert f"{limits.line_bytes // MIB} MiB" in page
    assert f"{limits.cell_bytes // MIB} MiB" in page
    assert f"{limits.sound_seconds:g} s" in page
    assert all(f"| `{name}` |" in page for name in get_args(FileFormat))
