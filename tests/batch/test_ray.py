"""Batches on a real Ray cluster, whose nodes are on this machine."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

import gs3d
from gs3d.batch.request import Batch
from gs3d.batch.shown import index
from gs3d.batch.status import rebuild, status_of
from gs3d.batch.workers import nodes
from gs3d.batch.workers.job import ADVICE
from gs3d.batch.workers.task import device_of
from gs3d.core.errors import UserError
from tests.batch.losses import LOSS, NAME, computed, is_continued, kinds, logged
from tests.batch.test_batch import CONFIG, changed, made


def node(tmp, name, cpus=1, **environment):
    """Arguments of a node, which has a temporary folder of its own."""
    (tmp / name).mkdir()
    variables = {"GS3D_TEST_NODE": name, "TMPDIR": str(tmp / name), "OMP_NUM_THREADS": "1"}
    root = str(Path(gs3d.__file__).parents[1])
    variables |= {"PYTHONPATH": root} | environment
    return {"num_cpus": cpus, "object_store_memory": 80 * 2**20, "env_vars": variables}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node."""
    pytest.importorskip("ray", reason='wants `pip install "gs3d[batch]"`')
    from ray.cluster_utils import Cluster

    tmp = tmp_path_factory.mktemp("nodes")
    # A node of one CPU would end each process that has nothing to do, and its prior with it.
    more = {"include_dashboard": False, "_system_config": {"num_workers_soft_limit": 8}}
    head = node(tmp, "head") | more
    found = Cluster(initialize_head=True, head_node_args=head)
    yield SimpleNamespace(ray=found, tmp=tmp, address=found.address)
    found.shutdown()


@pytest.fixture
def batch(cluster, tiny_builtin_folder, tmp_path):
    (tmp_path / "list.txt").write_text("a red mushroom\n")
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "loss.py").write_text(LOSS)
    return Batch(
        tmp_path / "list.txt",
        steps=6,
        out=tmp_path / "out",
        ray=cluster.address,
        cpus=1,
        prior=str(tiny_builtin_folder),
        guidance=f"{tmp_path / 'loss.py'}:Loss",
        config=str(tmp_path / "config.yaml"),
        device="cpu",
    )


@pytest.fixture(scope="module")
def web():
    """The address of a web server."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_rows_keep_the_prior_and_one_that_cannot_load_stops_nothing(
    batch, tiny_builtin_folder, tmp_path
):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_builtin_folder, broken)
    rows = [{"prompt": "a red mushroom"}, {"prompt": "a blue chair"}]
    rows.append({"prompt": "a white duck", "name": "duck", "prior": str(broken)})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def damage(event, tally):
        for file in broken.rglob("*.safetensors"):
            file.unlink()

    batch = changed(batch, rows=tmp_path / "rows.jsonl", steps=2)
    status, said, events = made(batch, damage)
    assert status == 1 and "1 at once on 1 node, 1 CPU each" in said[-1]
    assert kinds(events).count("ended") == 2
    entries = {entry.name: entry for entry in status_of(batch.folder)}
    assert entries["duck"].state == "failed" and "broken" in entries["duck"].reason
    assert sum(entry.state == "done" for entry in entries.values()) == 2
    assert (batch.folder / NAME / "strip.webp").exists()
    assert len({row[2:] for row in computed(batch)}) == 1  # one process, one prior


def test_after_a_fault_the_next_row_has_another_process(batch, tmp_path):
    (tmp_path / "fail").touch()
    batch.rows.write_text("a red mushroom\na blue chair\n")
    status, _, events = made(changed(batch, steps=2, retries=0))
    failed, done = status_of(batch.folder)
    assert status == 1 and (failed.state, done.state) == ("failed", "done")
    assert failed.reason.startswith("RuntimeError: a fault of CUDA (loss.py line ")
    assert "lost" not in kinds(events)  # Ray started it again, which is no retry of this row
    assert len({row[2] for row in computed(batch)}) == 2


def test_a_killed_process_goes_on_and_ctrl_c_writes_what_there_is(batch, tmp_path):
    (tmp_path / "kill").touch()
    seen = []

    def stop(event, tally):
        seen.append(event.kind)
        if "lost" in seen and event.kind == "step":
            os.kill(os.getpid(), signal.SIGINT)

    status, said, events = made(changed(batch, steps=2000), stop)
    (entry,) = status_of(batch.folder)
    assert kinds(events) == ["started", "lost", "ended"] and is_continued(batch)
    assert status == 130 and entry.state == "stopped" and 3 < entry.steps < 2000
    assert logged(batch.folder / NAME) == list(range(entry.steps))
    status, said, _ = made(changed(batch, steps=entry.steps + 1))
    assert status == 0 and ", 1 go on" in said[-1]
    assert logged(batch.folder / NAME) == list(range(entry.steps + 1))


@pytest.mark.thorough
def test_a_row_that_is_killed_each_time_fails_after_its_retries(batch, tmp_path):
    (tmp_path / "kill-always").touch()
    status, _, events = made(changed(batch, retries=1))
    assert status == 1 and kinds(events) == ["started", "lost", "failed"] and is_continued(batch)
    (entry,) = status_of(batch.folder)
    assert entry.state == "failed"
    assert entry.reason == (
        "its process or node ended 2 times, or said nothing for 15 minutes; see the logs of Ray"
    )


def test_faults_of_rows_are_a_line_each_and_too_many_start_no_more(batch, tmp_path):
    (tmp_path / "memory").touch()
    batch.folder.mkdir()
    (batch.folder / "a-blue-chair-s0").symlink_to("/proc/none")
    batch.rows.write_text("a blue chair\na red mushroom\na white duck\n")
    status, _, events = made(changed(batch, steps=2, max_failures=2))
    folder, memory, duck = status_of(batch.folder)
    assert status == 1 and (folder.state, memory.state) == ("failed", "failed")
    assert folder.reason.startswith(f"--out {batch.folder / folder.name}: cannot be written (")
    assert memory.reason == f"ended early: out of memory; {ADVICE}"
    # Ray looks for another process for it, since full memory leaves none.
    assert duck.state == "waiting" and not (batch.folder / duck.name).exists()


@pytest.mark.thorough
def test_a_second_ctrl_c_ends_a_row_at_once(batch, tmp_path):
    (tmp_path / "hold-head").touch()
    presses = []

    def press(event, tally):
        if event.kind == "step" and not presses:
            deadline = time.monotonic() + 60
            while computed(batch)[-1][1] < 3:  # where it holds, after three checkpoints
                assert time.monotonic() < deadline, "the row makes no progress"
                time.sleep(0.05)
            presses.append(threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT)))
            presses[0].start()
            os.kill(os.getpid(), signal.SIGINT)

    status, said, events = made(batch, press)
    presses[0].join()
    assert status == 130 and kinds(events) == ["started", "stopped"]
    (entry,) = status_of(batch.folder)
    assert entry.state == "stopped" and not (batch.folder / NAME / "splats.ply").exists()
    (tmp_path / "hold-head").unlink()
    assert made(batch)[0] == 0 and is_continued(batch)
    assert logged(batch.folder / NAME) == list(range(6))


@pytest.mark.thorough
def test_a_row_that_hangs_goes_on_in_another_process(batch, tmp_path):
    hold = tmp_path / "hold-head"
    hold.touch()

    def wait(event, tally):
        if event.kind == "lost":
            hold.unlink()

    status, _, events = made(changed(batch, hang_minutes=0.3), wait)
    assert status == 0 and kinds(events) == ["started", "lost", "ended"] and is_continued(batch)
    assert logged(batch.folder / NAME) == list(range(6))


@pytest.mark.thorough
def test_a_removed_node_goes_on_elsewhere_from_the_url(cluster, batch, tmp_path, monkeypatch):
    """Two nodes have room for the row; the one that makes it is removed."""
    monkeypatch.chdir(tmp_path)  # the default folder of a batch is relative
    batch = changed(batch, out=f"file://{tmp_path}/far", cpus=2)
    far = tmp_path / "far" / NAME
    others = {name: node(cluster.tmp, name, 2) for name in ("second", "third")}
    added = {name: cluster.ray.add_node(**given) for name, given in others.items()}
    for name in others:
        (tmp_path / f"hold-{name}").touch()
    removed = []

    def remove(event, tally):
        if event.kind != "step" or removed:
            return
        deadline = time.monotonic() + 60
        while not list(far.glob("checkpoint/*")) or not (far / "run.yaml").exists():
            assert time.monotonic() < deadline, "no checkpoint was uploaded"
            time.sleep(0.1)
        removed.append(computed(batch)[0][0])
        for name in others:
            (tmp_path / f"hold-{name}").unlink()
        cluster.ray.remove_node(added[removed[0]])

    try:
        status, _, events = made(batch, remove)
    finally:
        for name in set(added) - set(removed):
            cluster.ray.remove_node(added[name])
    assert status == 0 and kinds(events) == ["started", "lost", "ended"]
    assert {row[0] for row in computed(batch)} == set(others) and is_continued(batch)
    assert logged(far) == list(range(6))
    assert (far / "splats.ply").exists() and not (batch.folder / NAME / "splats.ply").exists()
    # The gallery has its strip here, and what was made is in no folder of the node.
    assert (batch.folder / NAME / "strip.webp").exists()
    assert not list(cluster.tmp.glob(f"{({*others} - {*removed}).pop()}/gs3d-rows-*/*"))
    status, said, events = made(changed(batch, cpus=1))
    assert status == 0 and said[-1].startswith("0 of 1 rows to make, 1 are there") and not events
    index.remove(batch.folder)
    assert [entry.state for entry in rebuild(batch.folder)] == ["done"]


def test_a_node_with_other_code_is_refused(cluster, batch, tmp_path):
    other = tmp_path / "other"
    only_code = shutil.ignore_patterns("weights", "builtin", "*.json", "*.safetensors")
    shutil.copytree(Path(gs3d.__file__).parent, other / "gs3d", ignore=only_code)
    with open(other / "gs3d" / "batch" / "rows.py", "a") as file:
        file.write("# another version\n")
    added = cluster.ray.add_node(**node(cluster.tmp, "old", PYTHONPATH=str(other)))
    try:
        with pytest.raises(UserError) as caught:
            made(batch)
    finally:
        cluster.ray.remove_node(added)
    assert "code of gs3d is" in str(caught.value) and "install the same" in str(caught.value)
    assert "\n" not in str(caught.value) and not batch.folder.exists()


def test_a_folder_that_nodes_do_not_share_is_one_line(tmp_path):
    (tmp_path / nodes.TOKEN).write_text("that of another machine")
    found = nodes.report(nodes.facts(), str(tmp_path), "token", None)
    assert f"--out {tmp_path} is not the same folder there; give one that all" in found
    (tmp_path / nodes.TOKEN).write_text("token")
    assert nodes.report(nodes.facts(), str(tmp_path), "token", None) == ""
    assert "cannot be written" in nodes.report(nodes.facts(), None, "", "file:///proc/none")
    other = nodes.facts() | {"Python": "2.7"}
    assert nodes.report(other, None, "", None).startswith("Python is ")


@pytest.mark.parametrize(
    "change,message",
    [
        ({"workers": 1}, "workers: has no effect with ray"),
        ({"ray": None}, "cpus: has no effect without ray"),
        ({"gpus": 0, "cpus": 0}, "cpus: expected more than 0"),
        ({"cpus": -1}, "cpus: expected 0 or more"),
        ({"device": "cuda:1"}, "expected cuda with ray, which picks the card"),
        ({"ray": "ray://host:10001"}, "expected auto or HOST:PORT"),
        ({"ray": "127.0.0.1:1"}, "no Ray is there"),
        ({"ray": "{web}"}, "no Ray is there (it answers, but not as Ray does)"),
    ],
)
def test_what_cannot_run_is_one_line(batch, web, change, message):
    if "ray" in change and change["ray"]:
        change = {"ray": change["ray"].format(web=web)}
    with pytest.raises(UserError) as caught:
        made(changed(batch, **change))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not batch.folder.exists()


def test_without_ray_it_is_named(batch, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as caught:
        made(batch)
    assert 'Ray is not installed; `pip install "gs3d[batch]"`' in str(caught.value)


def test_a_process_takes_the_card_of_its_row():
    seen = {"CUDA_VISIBLE_DEVICES": "3"}
    assert device_of(["3"], seen) == "cuda:3" and not seen
    assert device_of(["MIG-a"], {"CUDA_VISIBLE_DEVICES": "MIG-a"}) == "cuda"
