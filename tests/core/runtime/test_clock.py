"""The clock that stands still while the process is stopped."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from gs3d.core.runtime import clock

CHILD = """
import time
from gs3d.core.runtime import clock

with clock.noticing_pauses(), clock.noticing_pauses():
    print(flush=True)
    largest, last = 0.0, clock.now()
    while input() != "end":
        # As fast as it can: its first look after the stop must have the pause in it already.
        end = time.monotonic() + 1
        while time.monotonic() < end:
            largest, last = max(largest, clock.now() - last), clock.now()
        print(flush=True)
print(largest, clock.paused_s())
"""
needs_counts = pytest.mark.skipif(
    not clock.STATISTICS.exists(), reason="the system does not count how long threads wait"
)


@needs_counts
def test_time_in_which_the_process_is_stopped_does_not_count():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CHILD], **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        stopped_s = 0.0
        for seconds in (6.0, 4.0):
            process.stdin.write("on\n")
            process.stdin.flush()
            time.sleep(0.4)
            began = time.monotonic()
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGCONT)
            stopped_s += time.monotonic() - began
            process.stdout.readline()
        printed, _ = process.communicate("end\n")
    largest, paused_s = map(float, printed.split())
    assert paused_s == pytest.approx(stopped_s, abs=1.5) and largest < 2


def test_waiting_for_the_lock_of_the_interpreter_is_no_pause():
    before = clock.paused_s()
    with clock.noticing_pauses():
        time.sleep(0.5)
        ctypes.PyDLL(None).usleep(3_000_000)  # holds the lock, and uses no processor time
        assert clock.paused_s() == before
        time.sleep(0.5)
    assert clock.paused_s() == before


def test_without_counts_nothing_is_a_pause(monkeypatch, tmp_path):
    monkeypatch.setattr(clock, "STATISTICS", tmp_path / "missing")
    before = clock.paused_s()
    with clock.noticing_pauses():
        for _ in range(3):
            assert clock.now() == pytest.approx(time.monotonic() - before, abs=0.5)
    assert clock.paused_s() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_has_a_clock_without_the_thread():
    with clock.noticing_pauses():
        pid = os.fork()
        if pid == 0:
            first = clock.now()
            time.sleep(clock.LATE_S + 0.2)
            os._exit(0 if clock.now() > first + clock.LATE_S else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
