"""Rows whose disk is full or read-only, whose memory is full, or that hang; and SIGTERM."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from gs3d.batch import run
from gs3d.batch.plan import planned
from gs3d.batch.rows import read_rows
from gs3d.batch.shown import files as shown
from gs3d.batch.shown import index
from gs3d.batch.status import status_of
from gs3d.batch.workers import hang, pool
from gs3d.batch.workers import make as making
from gs3d.batch.workers.job import ADVICE, ALIVE, job_of
from gs3d.batch.workers.make import Kept, ended, make
from gs3d.batch.workers.process import Log
from gs3d.core.errors import UserError
from gs3d.io import load_asset
from gs3d.runs.execute import execute
from gs3d.runs.outputs import files, plot
from gs3d.runs.prepare import prepare
from tests.batch.disks import Disk, SmallDisk, fail_in, fault_of, mounted
from tests.batch.losses import LOSS, NAME, is_continued, kinds, logged
from tests.batch.test_batch import batch_in, changed, made, states
from tests.small import SMALL, blank_figure

CHAIR = "a-blue-chair-s0"
SCRIPT = """
import json, os, signal, sys, time
for line in sys.stdin:
    name = json.loads(line)["request"]["out"].rpartition("/")[2]
    def say(event, **values):
        print(json.dumps({"event": event, **values}), flush=True)
    say("step", step=1, progress=0.1)
    {faults}
    say("ended", outcome="finished", steps=os.getpid(), seconds=1, pieces=1, leaves=False)
"""
"""A worker that makes nothing. Its process is the number of steps of its rows."""


@pytest.fixture
def batch(tiny_builtin_folder, tmp_path, monkeypatch):
    (tmp_path / "loss.py").write_text(LOSS)
    monkeypatch.setenv("GS3D_TEST_NODE", "here")
    one = batch_in(tmp_path, tiny_builtin_folder)
    return changed(one, guidance=f"{tmp_path / 'loss.py'}:Loss")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A folder that is a disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if mounted(folder):
        yield SmallDisk(folder)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    fail_in(str(folder), monkeypatch.setattr)
    code = pool.COMMAND[2].replace(
        "; from", f"; from {fail_in.__module__} import fail_in; fail_in({str(folder)!r}); from", 1
    )
    monkeypatch.setattr(pool, "COMMAND", (*pool.COMMAND[:2], code))
    yield Disk(folder)


@pytest.fixture
def made_here(batch, monkeypatch):
    """A function that makes the first row of the batch in this process: its last event, and those
    before. Each goes to `heard` first."""
    for name, value in SMALL.items():
        monkeypatch.setattr(files, name, value)
    monkeypatch.setattr(plot, "draw_figure", blank_figure)
    monkeypatch.delenv("GS3D_TEST_NODE")

    def one(heard=lambda event: None, kept=None):
        (row, *_) = planned(batch, read_rows(batch.rows))
        events = []

        def send(event):
            if event != ALIVE:
                events.append(event)
                heard(event)

        return ended(lambda: make(job_of(row), send, kept or Kept())), events

    return one


@pytest.fixture
def worker(monkeypatch):
    """A function that lets workers do something in the middle of each row, in lines of Python."""

    def use(*faults):
        code = SCRIPT.replace("{faults}", "\n    ".join(faults))
        monkeypatch.setattr(pool, "COMMAND", (sys.executable, "-c", code))

    return use


def test_a_full_disk_fails_its_row_alone_and_loses_nothing(batch, disk, tmp_path, monkeypatch):
    """The batch is on a disk that is full while its first row runs. The second row is elsewhere."""
    monkeypatch.setattr(shown, "GALLERY_EVERY_S", 0.0)
    batch = changed(batch, out=disk.folder / "out")
    batch.folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (batch.folder / CHAIR).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "hold-here").touch()

    def fill(event, tally):
        if event.kind == "step" and (tmp_path / "hold-here").exists():
            deadline = time.monotonic() + 60
            while not list((batch.folder / NAME).glob("checkpoint/*.safetensors")):
                assert time.monotonic() < deadline, "no checkpoint was written"
                time.sleep(0.05)
            disk.full()
            (tmp_path / "hold-here").unlink()
        if (event.row.row.name, event.kind) == (CHAIR, "ended"):
            disk.mend()

    status, said, events = made(batch, fill)
    assert status == 1 and kinds(events) == ["started", "failed", "started", "ended"]
    failed, done = status_of(batch.folder)  # there was room for the index at the end
    assert (failed.state, done.state) == ("failed", "done") and done.steps == 6
    assert str(batch.folder / NAME) in failed.reason and "the disk is full" in failed.reason
    assert "\n" not in failed.reason
    warnings = [line for line in said if line.startswith("warning: ")]
    assert sum(index.NAME in line and "is full" in line for line in warnings) == 1
    assert sum("rows.js" in line and "the disk is full" in line for line in warnings) == 1
    status, said, events = made(batch)
    assert status == 0 and ", 1 go on" in said[-1] and kinds(events) == ["started", "ended"]
    assert is_continued(batch) and logged(batch.folder / NAME) == list(range(6))
    assert set(states(batch).values()) == {"done"}


def test_the_log_of_a_worker_has_no_room():
    log = io.TextIOWrapper(Log("/dev/full", "wb"), write_through=True)
    print("row", file=log, flush=True)  # an ordinary file raises OSError
    log.close()


def test_a_folder_that_becomes_read_only_is_one_line(batch, made_here, monkeypatch):
    folder = Disk(batch.folder / NAME)
    folder.folder.mkdir(parents=True)
    fail_in(str(folder.folder), monkeypatch.setattr)
    broken = []

    def turn(event):
        if not broken:
            broken.append(folder.read_only())

    last, events = made_here(turn)
    assert last["event"] == "failed" and not last["leaves"]
    assert f"the folder {folder.folder} is on a read-only disk" in last["reason"]
    # Six iterations, each with a checkpoint, and one line.
    texts = [event["text"] for event in events if event["event"] == "warning"]
    assert sum("checkpoint" in text and "Read-only file system" in text for text in texts) == 1
    again, events = made_here()
    assert f"{folder.folder}: cannot be written (Read-only file system)" in again["reason"]
    assert not events
    fault_of(folder.folder).unlink()
    last, _ = made_here()
    assert (last["event"], last["steps"]) == ("ended", 6)


def test_a_mesh_that_cannot_be_written_is_no_result(batch, made_here, monkeypatch):
    from gs3d.io import mesh

    def full(*_):
        raise UserError("the disk is full")

    tree = "stages: [{batch: 4, cameras: {resolution_px: {at: [0.0], values: [16]}}, "
    tree += "representation: dmtet, dmtet: {resolution: 12, field: {hidden: 8, grid: "
    tree += "{levels: 3, log2_size: 10, coarsest: 4, finest: 16}}}}]\n"
    (batch.rows.parent / "config.yaml").write_text(tree)
    with monkeypatch.context() as patch:
        patch.setattr(mesh, "write_mesh", full)
        last, _ = made_here()
    assert last["event"] == "failed" and last["reason"] == "mesh.glb: the disk is full"
    assert planned(batch, read_rows(batch.rows))[0].progress == "begun"
    assert made_here()[0]["event"] == "ended"
    assert planned(batch, read_rows(batch.rows))[0].progress == "done"


@pytest.mark.parametrize("where", ["iteration", "prior", "first"])
def test_full_memory_is_one_line_and_ends_the_process(batch, made_here, monkeypatch, where):
    def full(*_):
        bytearray(1 << 60)

    if where == "iteration":
        monkeypatch.setattr("gs3d.runs.loop.iterate", full)
    elif where == "prior":
        monkeypatch.setattr(making, "load_prior", full)
    else:
        monkeypatch.setattr("gs3d.runs.setup.warm_up", full)
    last, _ = made_here()
    assert last["leaves"]
    if where == "iteration":
        assert (last["event"], last["outcome"]) == ("ended", "out of memory")
    else:
        assert last["event"] == "failed" and last["reason"].startswith("out of memory ")
        assert "\n" not in last["reason"]
    assert where != "prior" or last["reason"].endswith(ADVICE)


def test_the_row_after_full_memory_has_another_process(batch, worker):
    worker(
        "if 'mushroom' in name:",
        "    say('ended', outcome='out of memory', steps=1, seconds=1, pieces=1, leaves=True)",
        "    continue",
    )
    batch.rows.write_text("a red mushroom\na blue chair\na white duck\n")
    status, said, events = made(batch)
    full, chair, duck = status_of(batch.folder)
    assert status == 1 and full.state == "failed"
    assert full.reason == f"ended early: out of memory; {ADVICE}"
    assert chair.state == duck.state == "done" and chair.steps == duck.steps
    assert kinds(events).count("lost") == 0
    status, _, events = made(changed(batch, max_failures=1))
    assert status == 1 and kinds(events) == ["started", "ended"]  # the other two wait


def test_a_killed_worker_is_said_to_be_and_what_to_do(batch, worker):
    worker("if 'mushroom' in name: os.kill(os.getpid(), signal.SIGKILL)")
    status, _, events = made(changed(batch, retries=2))
    killed, chair = status_of(batch.folder)
    assert status == 1 and chair.state == "done" and kinds(events).count("lost") == 2
    assert killed.reason == (
        "its worker ended 3 times (killed, which the system does when memory is full: "
        f"{ADVICE}); see {batch.folder}/workers/worker-0.log"
    )


def test_a_stopped_worker_is_replaced(batch, worker, tmp_path, monkeypatch):
    """The clock of the batch goes a quarter of an hour ahead when a row is stopped."""
    (tmp_path / "stop").touch()
    worker(
        f"if os.path.exists({str(tmp_path / 'stop')!r}):",
        "    if 'chair' not in name: os.kill(os.getpid(), signal.SIGSTOP)",
    )
    now = [0.0]
    monkeypatch.setattr(hang.clock, "now", lambda: now[0])

    def wait(event, tally):
        if event.kind == "step" and event.row.row.name == NAME:
            now[0] += 60 * batch.hang_minutes + 1

    status, _, events = made(changed(batch, retries=1), wait)
    hung, chair = status_of(batch.folder)
    assert status == 1 and chair.state == "done"
    assert kinds(events) == ["started", "lost", "failed", "started", "ended"]
    assert "ended 2 times (it said nothing for 15 minutes and was killed, see" in hung.reason
    (tmp_path / "stop").unlink()
    assert made(batch, wait)[0] == 0


def test_silence_counts_by_the_clock_without_pauses(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(hang.clock, "now", lambda: now[0])
    monkeypatch.setattr(hang, "TRACE", None)
    watch = hang.HangWatch(60.0)
    with subprocess.Popen(["sleep", "600"], text=True) as process, watch.of(process) as heard:
        now[0] = 50.0
        heard()
        now[0] = 109.0
        watch.look()
        assert process.poll() is None and not watch.why(process)
        now[0] = 111.0
        watch.look()
        assert process.wait() == -signal.SIGKILL and "for 1 minutes" in watch.why(process)


def test_a_process_that_nobody_watches_ends_itself():
    """Where it hangs without running Python, too; not while it says something, nor after that."""
    code = """
import signal, sys, time
from gs3d.batch.workers.silence import ending_if_silent
with ending_if_silent(1.0) as heard:
    for _ in range(4):
        time.sleep(0.4)
        heard()
time.sleep(1.2)
print("lives", flush=True)
with ending_if_silent(float("inf")):
    pass
with ending_if_silent(0.2):
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.sigwait({signal.SIGUSR1})
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.returncode == 1 and found.stdout == "lives\n"
    assert "Timeout" in found.stderr and "line 14" in found.stderr


def test_after_sigterm_and_a_hang_the_result_is_the_same(batch, tmp_path, monkeypatch):
    until, hold = tmp_path / "until-ctrl-c", tmp_path / "hold-here"
    until.touch()
    now = [0.0]
    monkeypatch.setattr(hang.clock, "now", lambda: now[0])

    def end(event, tally):
        if event.kind == "step" and until.exists():
            os.kill(os.getpid(), signal.SIGTERM)

    def wait(event, tally):
        if event.kind == "step" and now[0] == 0:
            now[0] = 61.0
        if event.kind == "lost":
            hold.unlink()

    batch.rows.write_text("a red mushroom\n")
    status, _, _ = made(batch, end)
    (entry,) = status_of(batch.folder)
    assert status == 130 and (entry.state, entry.steps) == ("stopped", 2)
    assert max((batch.folder / NAME).glob("checkpoint/*")).name == "step_0000002.safetensors"
    until.unlink()
    hold.touch()
    status, said, events = made(changed(batch, hang_minutes=1.0), wait)
    assert status == 0 and kinds(events) == ["started", "lost", "ended"]
    assert ", 1 go on" in said[-1] and is_continued(batch)
    assert logged(batch.folder / NAME) == list(range(6))
    # Where it was.
    assert 'loss.py", line' in (batch.folder / "workers" / "worker-0.log").read_text()
    row = planned(batch, read_rows(batch.rows))[0]
    execute(prepare(replace(row.request, out=tmp_path / "alone")))
    alone, found = (load_asset(folder) for folder in (tmp_path / "alone", row.request.out))
    for one, other in zip(vars(alone).values(), vars(found).values(), strict=True):
        assert torch.equal(one, other)


def test_after_sigterm_rows_that_take_too_long_are_ended(batch, worker, monkeypatch):
    """As a mesh that is still written when the notice is over."""
    worker("time.sleep(600)")
    monkeypatch.setattr(run, "NOTICE_S", 0.1)

    def end(event, tally):
        if event.kind == "step":
            os.kill(os.getpid(), signal.SIGTERM)

    status, _, events = made(batch, end)
    assert status == 130 and kinds(events) == ["started", "stopped"]
    assert set(states(batch).values()) == {"waiting"}
