"""A process that asked to die with its parent does, also when it asked too late."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

CHILD = "import signal, sys; from softreg_core.lifeline import die_with_parent; die_with_parent(int(sys.argv[1])); "
PARENT = rf"""
import os, subprocess, sys
child = [sys.executable, "-c", {CHILD!r} + "print('asked', flush=True); signal.pause()", str(os.getpid())]
process = subprocess.Popen(child, stdout=subprocess.PIPE)
assert process.stdout.readline() == b"asked\n"
print(process.pid, flush=True)
os.read(0, 1)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize("is_killed", [True, False])
def test_the_end_of_the_parent_ends_the_child(is_killed):
    arguments = [sys.executable, "-c", PARENT]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = os.pidfd_open(int(parent.stdout.readline()))
        if is_killed:
            parent.kill()
        else:
            parent.stdin.write("\n")
            parent.stdin.flush()
        poll = select.poll()
        poll.register(child, select.POLLIN)
        has_ended = poll.poll(10_000)
        if not has_ended:
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
        assert has_ended, "the child outlived its parent"


def test_a_process_whose_parent_is_gone_already_ends_at_once():
    def run(parent):
        arguments = [sys.executable, "-c", CHILD + "print('alive')", str(parent)]
        return subprocess.run(arguments, capture_output=True, check=False)

    assert run(os.getpid()).stdout == b"alive\n"
    orphan = run(os.getpid() + 1)
    assert (orphan.returncode, orphan.stdout) == (1, b"")
