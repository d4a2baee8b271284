"""Whole batches with real workers and a tiny prior: made, stopped, continued, killed, failed."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
import yaml

from gs3d.batch.plan import planned
from gs3d.batch.request import Batch
from gs3d.batch.rows import read_rows
from gs3d.batch.run import run_batch
from gs3d.batch.shown import index
from gs3d.batch.status import rebuild, status_of
from gs3d.batch.workers import pool
from gs3d.batch.workers.job import ALIVE, job_of, job_to
from gs3d.batch.workers.places import places
from gs3d.core.errors import UserError
from gs3d.io import load_asset
from gs3d.runs.execute import execute
from gs3d.runs.folders import make_writable
from gs3d.runs.lock import locked
from gs3d.runs.prepare import prepare

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [24]}}
gaussians: {count: 60, rates: {iterations: 10}}
densify: {start: 0.2, stop: 0.9, rounds: 2, grow_share: 0.2, max_count: 100}
checkpoint_every_s: 0.01
"""
LIST = "a red mushroom\na blue chair\n"


def batch_in(folder, prior):
    (folder / "list.txt").write_text(LIST)
    (folder / "config.yaml").write_text(CONFIG)
    return Batch(
        folder / "list.txt",
        steps=6,
        out=folder / "out",
        workers=1,
        prior=str(prior),
        guidance="sds",
        config=str(folder / "config.yaml"),
        device="cpu",
    )


@pytest.fixture
def batch(tiny_builtin_folder, tmp_path):
    return batch_in(tmp_path, tiny_builtin_folder)


@pytest.fixture(scope="module")
def whole(tiny_builtin_folder, tmp_path_factory):
    """A batch that was made."""
    one = batch_in(tmp_path_factory.mktemp("whole"), tiny_builtin_folder)
    assert made(one)[0] == 0
    return one


@pytest.fixture
def copied(whole, batch):
    """A batch of one's own that was made."""
    shutil.copytree(whole.folder, batch.folder)
    return batch


def made(batch, watch=lambda event, tally: None):
    """Run a batch; its status, the lines it said, and (row, kind) of its events."""
    said, events = [], []

    def follow(event, tally):
        events.append((event.row.row.name, event.kind))
        watch(event, tally)

    return run_batch(batch, said.append, follow), said, events


def changed(batch, **changes):
    return Batch(**{**vars(batch), **changes})


def states(batch):
    return {entry.name: entry.state for entry in status_of(batch.folder)}


@pytest.mark.parametrize("keep,folders", [("all", 3), ("best", 1)])
def test_rows_of_several_seeds_are_there_too(batch, keep, folders):
    batch = changed(batch, seeds=3, keep=keep)
    rows = planned(batch, read_rows(batch.rows)[:1])
    assert rows[0].progress == "new" and "--seeds 3" in rows[0].command
    result = execute(prepare(rows[0].request))
    assert len(list(result.folder.rglob("splats.ply"))) == folders
    assert planned(batch, read_rows(batch.rows)[:1])[0].progress == "done"


def test_a_batch_is_made_once_and_then_is_there(batch):
    status, said, events = made(batch)
    assert status == 0 and said[-1].startswith("2 of 2 rows to make, 1 at once")
    assert [row for row, kind in events if kind == "ended"] == [
        "a-red-mushroom-s0",
        "a-blue-chair-s0",
    ]
    for entry in status_of(batch.folder):
        folder = batch.folder / entry.name
        record = yaml.safe_load((folder / "run.yaml").read_text("utf-8"))
        assert record["result"]["steps"] == 6 and record["prompt"] == entry.prompt
        assert len(load_asset(folder)) == entry.pieces and (folder / "strip.webp").exists()
        assert entry.command.startswith("gs3d generate 'a ") and entry.state == "done"
    before = {path: path.stat().st_mtime_ns for path in batch.folder.glob("*/splats.ply")}
    status, said, events = made(batch)
    assert status == 0 and said[-1].startswith("0 of 2 rows to make, 2 are there") and not events
    assert before == {path: path.stat().st_mtime_ns for path in batch.folder.glob("*/splats.ply")}


def test_a_longer_list_makes_the_rest(copied):
    batch = copied
    batch.rows.write_text(LIST + "a white duck\n")
    status, said, events = made(batch)
    assert status == 0 and {row for row, _ in events} == {"a-white-duck-s0"}


def test_a_row_that_ended_without_its_picture_gets_it(copied):
    picture = copied.folder / "a-red-mushroom-s0" / "strip.webp"
    before = picture.read_bytes()
    picture.unlink()
    assert made(copied)[0] == 0 and picture.read_bytes() == before


def test_rows_with_unknown_words_are_named_before_the_first_starts(batch):
    batch.rows.write_text("a red mushroom\na dragon of the blue chair\na purpel mushrom\n")
    lines: list[str] = []
    planned(batch, read_rows(batch.rows), lines.append)
    (line,) = [line for line in lines if "does not know" in line]
    assert "rows: row 2: dragon; row 3: purpel (nearest: purple) and mushrom (nearest" in line


def test_a_stopped_batch_goes_on(batch):
    def stop(event, tally):
        if event.kind == "step":
            os.kill(os.getpid(), signal.SIGINT)

    status, said, _ = made(changed(batch, steps=2000), stop)
    assert status == 130 and any(line.startswith("stopping: ") for line in said)
    first, *rest = states(batch).values()
    assert first == "stopped" and rest == ["waiting"]
    steps = status_of(batch.folder)[0].steps
    assert 0 < steps < 2000
    status, said, _ = made(changed(batch, steps=steps + 3))
    assert status == 0 and ", 1 go on" in said[-1]
    rows = (batch.folder / "a-red-mushroom-s0" / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(steps + 3))


def test_a_batch_that_stops_while_a_prior_loads_leaves_its_rows_waiting(batch):
    def stop(event, tally):
        if event.kind == "started":
            os.kill(os.getpid(), signal.SIGTERM)

    status, _, events = made(batch, stop)
    assert status == 130 and [kind for _, kind in events] == ["started", "stopped"]
    assert states(batch) == {"a-red-mushroom-s0": "waiting", "a-blue-chair-s0": "waiting"}
    assert made(batch)[0] == 0


def test_the_worker_of_a_killed_batch_ends_and_the_next_batch_goes_on(batch):
    """As after kill -9 of the batch: the worker is alone, and what it read has ended."""
    row = planned(changed(batch, steps=100_000), read_rows(batch.rows))[0]
    make_writable(batch.folder)
    (batch.folder / "workers").mkdir()
    (place,) = places(1, "cpu")
    process = pool.Pool(batch.folder, [place], 0)._start(place)
    process.stdin.write(job_to(job_of(row)) + "\n")
    process.stdin.flush()
    said = (json.loads(line) for line in process.stdout)
    assert next(event for event in said if event != ALIVE)["event"] == "step"
    process.stdin.close()
    process.stdout.close()
    batch.rows.write_text("a red mushroom\n")
    steps = len((row.request.out / "log.jsonl").read_text().splitlines())
    status, _, events = made(changed(batch, steps=steps + 200))
    assert process.wait(60) == 0 and status == 0
    rows = (row.request.out / "log.jsonl").read_text().splitlines()
    assert len(rows) >= steps + 200


def test_a_running_row_of_a_batch_that_is_gone_is_stopped(copied):
    with index.opened(copied.folder) as db:
        index.put(db, [replace(entry, state="running") for entry in index.entries(db)])
    assert set(states(copied).values()) == {"stopped"}
    with locked(copied.folder):
        assert set(states(copied).values()) == {"running"}


def test_modules_beside_the_list_are_not_imported(batch, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('foreign code')")
    monkeypatch.chdir(tmp_path)
    batch.rows.write_text("a red mushroom\n")
    assert made(batch)[0] == 0


def test_a_row_of_a_worker_equals_that_row_alone(copied):
    entry = status_of(copied.folder)[1]  # the second one, with the prior of the first
    row = planned(copied, read_rows(copied.rows))[1]
    alone = execute(prepare(replace(row.request, out=copied.folder.parent / "alone")))
    assert entry.name == row.row.name
    made_there = load_asset(row.request.out)
    assert torch.equal(alone.splats.means, made_there.means)
    assert torch.equal(alone.splats.opacities, made_there.opacities)


def test_fewer_minutes_or_steps_make_nothing_again(copied):
    status, said, events = made(changed(copied, steps=3))
    assert status == 0 and not events


def test_a_killed_worker_is_replaced_and_its_row_goes_on(batch, monkeypatch):
    running = []
    real = pool.Pool._start

    def start(self, place):
        running.append(real(self, place))
        return running[-1]

    def kill(event, tally):
        if event.kind == "step" and len(running) == 1:
            running[0].kill()

    monkeypatch.setattr(pool.Pool, "_start", start)
    batch.rows.write_text("a red mushroom\n")
    status, _, events = made(changed(batch, steps=400), kill)
    assert status == 0 and [kind for _, kind in events if kind != "step"] == [
        "started",
        "lost",
        "ended",
    ]
    rows = (batch.folder / "a-red-mushroom-s0" / "log.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(400))


def test_a_row_whose_worker_dies_each_time_fails_and_the_others_go_on(batch, monkeypatch):
    monkeypatch.setattr(pool, "COMMAND", ("sh", "-c", "read x; kill -9 $$"))
    status, _, events = made(changed(batch, retries=1, max_failures=1))
    assert status == 1 and [kind for _, kind in events] == ["started", "lost", "failed"]
    failed, *rest = status_of(batch.folder)
    assert failed.state == "failed" and "its worker ended 2 times (killed" in failed.reason
    assert [entry.state for entry in rest] == ["waiting"]


def test_a_failed_row_has_its_reason_and_stops_nothing(copied):
    batch = copied
    broken = batch.folder / "a-blue-chair-s0"
    record = (broken / "run.yaml").read_text("utf-8")
    (broken / "run.yaml").write_text(record.replace("outcome: finished", "outcome: interrupted"))
    for path in broken.glob("checkpoint/*"):
        path.unlink()
    status, _, _ = made(batch)
    entry = next(e for e in status_of(batch.folder) if e.name == broken.name)
    assert status == 1 and entry.state == "failed" and "no checkpoint can be read" in entry.reason
    assert set(states(batch).values()) == {"done", "failed"}


def test_all_rows_are_checked_before_the_first_starts(batch, tmp_path):
    rows = [{"prompt": "a cat"}, {"prompt": "a dog", "config": str(tmp_path / "none.yaml")}]
    path = tmp_path / "two.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=r"two.jsonl row 2 \(a-dog-s0-\w{8}\): ") as caught:
        made(changed(batch, rows=path))
    assert "\n" not in str(caught.value) and not batch.folder.exists()


def test_a_folder_with_other_settings_is_refused(copied):
    with pytest.raises(UserError, match="holds another run: that run has other settings"):
        made(changed(copied, set=("gaussians.count=70",)))


def test_two_batches_in_one_folder_are_refused(batch):
    faults = []

    def second(event, tally):
        if event.kind == "started" and not faults:
            with pytest.raises(UserError, match="another run is writing there") as caught:
                run_batch(batch, lambda line: None, lambda event, tally: None)
            faults.append(caught.value)

    status, _, _ = made(batch, second)
    assert status == 0 and faults


def test_the_index_is_made_again_from_the_runs(copied):
    batch = copied
    before = status_of(batch.folder)
    index.remove(batch.folder)
    with pytest.raises(UserError, match="holds no batch.sqlite; `gs3d batch index"):
        status_of(batch.folder)
    rebuild(batch.folder)
    again = status_of(batch.folder)
    for one, other in zip(before, again, strict=True):
        assert (one.name, one.state, one.steps, one.pieces, one.command) == (
            other.name,
            other.state,
            other.steps,
            other.pieces,
            other.command,
        )


def test_a_damaged_index_is_one_line(tmp_path):
    (tmp_path / index.NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="cannot be read .*makes it again") as caught:
        status_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_shortest_first(batch, tmp_path):
    rows = [{"prompt": f"a cat {i}", "minutes": m} for i, m in enumerate((3, 1, 2))]
    (tmp_path / "three.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = changed(batch, rows=tmp_path / "three.jsonl", order="shortest", steps=None)
    found = planned(asked, read_rows(asked.rows))
    assert [row.request.minutes for row in found] == [1, 2, 3]
    assert [row.number for row in found] == [1, 2, 0]


@pytest.mark.parametrize(
    "change,message",
    [
        ({"workers": 0}, "workers: expected 1 or more"),
        ({"workers": 10_000}, "workers: expected 1 to"),
        ({"retries": -1}, "retries: expected 0 or more"),
        ({"max_failures": 0}, "max_failures: expected 1 or more"),
        ({"hang_minutes": 0}, "hang_minutes: expected a number above 0, got 0"),
        ({"price": 2.0}, "price: has no effect without dry_run"),
        ({"minutes": 1.0}, "give minutes or steps"),
        ({"device": "cuda:99"}, "device cuda:99"),
    ],
)
def test_wrong_options_are_one_line(batch, change, message):
    with pytest.raises(UserError) as caught:
        made(changed(batch, **change))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not batch.folder.exists()
