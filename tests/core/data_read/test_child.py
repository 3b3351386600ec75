"""The child process: what it may do, what it knows, how it ends, and what its parent says then."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from softreg_core.data.parse import parse_file
from softreg_core.data.report import DatasetReport
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError, ResourceError, ServiceError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MIB = 2**20


@pytest.fixture
def pipe(tmp_path):
    """A path that the child opens and waits at, fully started and limited, until somebody writes."""
    path = tmp_path / "upload"
    os.mkfifo(path)
    return path


def children(pid: int | None = None) -> list[int]:
    tasks = Path(f"/proc/{pid or os.getpid()}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def readers(pid: int | None = None) -> list[int]:
    return [
        child for child in children(pid) if b"softreg_core.data.read" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_a_csv_file_is_stored_with_its_report(tmp_path):
    source, output = tmp_path / "a.csv", tmp_path / "table"
    source.write_text("x,k\n1.5,b\n,a\n")
    report = parse_file(source, format="csv", output=output)
    with safe_open(output, framework="numpy") as stored:
        assert DatasetReport.model_validate_json(stored.metadata()["softreg.report"]) == report
        numbers, codes = stored.get_tensor("numbers"), stored.get_tensor("codes")
    assert numbers[0].tolist() == [1.5]
    assert np.isnan(numbers[1, 0])
    assert codes.tolist() == [[1], [0]]
    assert report.format == "csv"


def test_an_npz_file_is_stored_with_its_report(tmp_path):
    source, output = tmp_path / "a.npz", tmp_path / "table"
    features = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.savez(source, features=features, target=np.array([0.5, 1.5]))
    report = parse_file(source, format="npz", output=output)
    with safe_open(output, framework="numpy") as stored:
        assert np.array_equal(stored.get_tensor("features"), features)
        assert stored.get_tensor("target").tolist() == [[0.5], [1.5]]
    assert report.rows == 2
    assert output.stat().st_mode & 0o077 == 0


def test_a_refused_file_leaves_nothing_and_carries_its_row(tmp_path):
    source, output = tmp_path / "a.csv", tmp_path / "table"
    source.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError) as caught:
        parse_file(source, format="csv", output=output)
    assert (caught.value.reason, caught.value.row) == ("ragged", 2)
    assert not output.exists()


def test_a_duplicate_column_is_named_across_the_processes(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("größe,größe\n1,2\n")
    with pytest.raises(DataError) as caught:
        parse_file(source, format="csv", output=tmp_path / "table")
    assert (caught.value.reason, caught.value.column) == ("duplicate_column", "größe")


def test_the_child_is_limited_and_knows_no_credentials(pipe, tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTREG_DATABASE_URL", "postgresql://user:secret@localhost/softreg")
    limits = ParseLimits(memory_bytes=1024 * MIB, cpu_seconds=50, output_bytes=77 * MIB)
    with ThreadPoolExecutor() as pool:
        parsed = pool.submit(parse_file, pipe, format="csv", output=tmp_path / "table", limits=limits)
        # Opening waits for the child to open the other end: by then it is limited and has its imports.
        with pipe.open("w") as upload:
            (child,) = readers()
            process = Path(f"/proc/{child}")
            environment = (process / "environ").read_bytes().decode().split("\0")
            table = (process / "limits").read_text()
            status = (process / "status").read_text()
            libraries = (process / "maps").read_text()
            standard_input = (process / "fd/0").readlink()
            directory = (process / "cwd").readlink()
            files = {link.readlink() for link in (process / "fd").iterdir()}
            session = os.getsid(child)
            upload.write("a,b\n1,2\n")
        assert parsed.result().rows == 1
    names = {entry.partition("=")[0] for entry in environment if entry}
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS"}
    assert names == {"PYTHONPATH", "LANG", "ARROW_DEFAULT_MEMORY_POOL", "MALLOC_ARENA_MAX"} | threads
    assert re.search(rf"Max address space +{1024 * MIB} +{1024 * MIB} ", table)
    assert re.search(r"Max cpu time +50 +51 ", table)
    assert re.search(rf"Max file size +{77 * MIB} +{77 * MIB} ", table)
    assert re.search(r"Max core file size +0 +0 ", table)
    assert re.search(r"Max open files +64 +64 ", table)
    assert re.search(r"NoNewPrivs:\s+1", status)
    assert "numpy" in libraries
    assert "torch" not in libraries
    assert standard_input == Path("/dev/null")
    assert directory != Path.cwd()
    assert not directory.exists()
    assert session == child
    assert not any("postgres" in str(file) or str(file).startswith("socket:") for file in files)


def test_the_child_dies_with_its_parent(pipe, tmp_path):
    program = (
        "import sys; from pathlib import Path; from softreg_core.data.parse import parse_file; "
        "parse_file(Path(sys.argv[1]), format='csv', output=Path(sys.argv[2]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(pipe), str(tmp_path / "table")])
    with parent, pipe.open("w"):
        (child,) = readers(parent.pid)
        handle = os.pidfd_open(child)
        parent.kill()
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        assert poll.poll(10_000), "the child outlived its parent"
        os.close(handle)


def test_an_upload_that_never_ends_is_given_up(pipe, tmp_path):
    with pytest.raises(DataError) as caught:
        parse_file(pipe, format="csv", output=tmp_path / "table", limits=ParseLimits(wall_seconds=0.5))
    assert caught.value.reason == "too_expensive"
    assert not readers()


def test_too_much_processor_time_is_too_expensive(pipe, tmp_path):
    def write() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb") as upload:
            upload.write(b"a,b\n")
            while True:
                upload.write(b"1.25,2.5\n" * 10_000)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(DataError) as caught:
        parse_file(pipe, format="csv", output=tmp_path / "table", limits=ParseLimits(cpu_seconds=1))
    writer.join()
    assert caught.value.reason == "too_expensive"


def test_an_array_larger_than_the_memory_is_too_expensive(tmp_path):
    source = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**27,)})
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("features.npy", header.getvalue())
    limits = ParseLimits(memory_bytes=512 * MIB, unpacked_bytes=4096 * MIB, unpacked_ratio=10**9)
    with pytest.raises(DataError) as caught:
        parse_file(source, format="npz", output=tmp_path / "table", limits=limits)
    assert caught.value.reason == "too_expensive"


def test_a_table_larger_than_the_memory_is_too_expensive(tmp_path):
    source = tmp_path / "a.csv"
    # Some 30 MB of text and 130 MB of Python strings at once.
    source.write_bytes(b",".join(b"c%d" % i for i in range(2000)) + b"\n" + (b"0.123," * 2000)[:-1] + b"\n")
    with source.open("ab") as file:
        for _ in range(2500):
            file.write((b"0.123456," * 2000)[:-1] + b"\n")
    with pytest.raises(DataError) as caught:
        parse_file(source, format="csv", output=tmp_path / "table", limits=ParseLimits(memory_bytes=160 * MIB))
    assert caught.value.reason == "too_expensive"


def test_a_table_larger_than_a_stored_file_may_be_is_too_expensive(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("a\n" + "1\n" * 200_000)
    with pytest.raises(DataError) as caught:
        parse_file(source, format="csv", output=tmp_path / "table", limits=ParseLimits(output_bytes=MIB))
    assert caught.value.reason == "too_expensive"


def test_a_report_larger_than_allowed_is_refused(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(DataError) as caught:
        parse_file(source, format="csv", output=tmp_path / "table", limits=ParseLimits(report_bytes=100))
    assert caught.value.reason == "report_too_large"


def test_a_place_that_cannot_be_written_is_not_the_file_s_fault(tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("a,b\n1,2\n")
    with pytest.raises(ServiceError):
        parse_file(source, format="csv", output=tmp_path / "missing" / "table")


HALF_A_TABLE = """
import json, pathlib, sys
pathlib.Path(json.loads(sys.argv[-1])["output"]).write_text("half a table")
"""


@pytest.mark.parametrize(
    ("program", "error", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", DataError, "too_expensive"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", ServiceError, None),
        ("raise RuntimeError('row data')", ServiceError, None),
        ("print('no JSON')", ServiceError, None),
        ("print('{}')", ServiceError, None),
        ('print(\'{"report": {"rows": -1}}\')', ServiceError, None),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", ServiceError, None),
    ],
    ids=["crashed", "ended from outside", "a bug", "no JSON", "no report", "a wrong report", "endless output"],
)
def test_a_child_s_word_is_checked(tmp_path, monkeypatch, program, error, reason):
    """An interpreter that runs another program stands in for a child that hostile bytes took over."""
    interpreter = tmp_path / "python"
    body = tmp_path / "program.py"
    body.write_text(HALF_A_TABLE + program)
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} {body} "$@"\n')
    interpreter.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    source = tmp_path / "a.csv"
    source.write_text("a\n1\n")
    with pytest.raises(error) as caught:
        parse_file(source, format="csv", output=tmp_path / "table")
    assert "row data" not in str(caught.value)
    assert not (tmp_path / "table").exists()
    assert getattr(caught.value, "reason", None) == reason


def test_a_machine_without_room_for_a_process_is_not_the_file_s_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no interpreter"))
    source = tmp_path / "a.csv"
    source.write_text("a\n1\n")
    with pytest.raises(ResourceError) as caught:
        parse_file(source, format="csv", output=tmp_path / "table")
    assert caught.value.retryable


def test_a_path_that_does_not_exist_is_the_caller_s_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        parse_file(tmp_path / "none", format="csv", output=tmp_path / "table")


WATCHED = """
import json, os, sys
def watch(event, arguments):
    if event == "pickle.find_class":
        print("a pickle was opened")
        sys.stdout.flush()
        os._exit(3)
sys.addaudithook(watch)
from softreg_core.data.read import main
main(sys.argv[1:])
print()
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "sklearn"))))
"""


def test_a_pickle_in_an_array_is_refused_unopened_and_torch_stays_away(tmp_path):
    source = tmp_path / "a.npz"
    np.savez(source, features=np.ones(2), target=np.array([Path("x"), None], dtype=object))
    request = {
        "format": "npz",
        "source": str(source),
        "output": str(tmp_path / "table"),
        "limits": {},
        "parent_pid": os.getpid(),
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(request)], capture_output=True, text=True, timeout=60, check=True
    )
    reply, modules = done.stdout.splitlines()
    assert json.loads(reply)["error"]["reason"] == "dtype"
    assert json.loads(modules) == []


def test_no_child_and_no_scratch_folder_stay_behind(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    source = tmp_path / "a.csv"
    source.write_text("a\n1\n")
    parse_file(source, format="csv", output=tmp_path / "table")
    assert list(scratch.iterdir()) == []
    assert not readers()
