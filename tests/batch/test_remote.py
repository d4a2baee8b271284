"""Folders of rows at a URL: whole or not there, tried again, and gone on with elsewhere."""

import sys
import threading

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from gs3d.batch.remote import upload as module
from gs3d.batch.remote import work
from gs3d.batch.remote.folder import Remote, check, is_url, opened
from gs3d.batch.remote.upload import Upload, following
from gs3d.batch.results import Copies, Results
from gs3d.core.errors import UserError

RUNNING, FINISHED = "result: null\n", "result: {outcome: finished}\n"


@pytest.fixture(params=["file", "memory"])
def place(request, tmp_path):
    if request.param == "memory":
        # opened() refuses it, since other processes would not see its files.
        return Remote(f"memory://{tmp_path}/far/cat", MemoryFileSystem(), f"{tmp_path}/far/cat")
    return opened(f"file://{tmp_path}/far/cat")


@pytest.fixture
def run(tmp_path):
    """The folder of a run that goes on, with two checkpoints."""
    folder = tmp_path / "near" / "cat"
    (folder / "checkpoint").mkdir(parents=True)
    for step in (1, 2):
        (folder / "checkpoint" / f"step_{step:07d}.safetensors").write_bytes(b"%d" % step)
    (folder / "run.yaml").write_text(RUNNING)
    (folder / "log.jsonl").write_text("{}\n")
    (folder / ".gs3d-running").write_text("")
    return folder


def end(run):
    (run / "splats.ply").write_bytes(b"splats")
    (run / "run.yaml").write_text(FINISHED)


def test_the_record_comes_last_and_temporary_files_stay(place, run, monkeypatch):
    names = []
    put = Remote.put
    monkeypatch.setattr(Remote, "put", lambda s, name, c: (names.append(name), put(s, name, c)))
    end(run)
    Upload(run, place).whole()
    assert names[-1] == "run.yaml" and len(names) == len(set(names))
    newest = "checkpoint/step_0000002.safetensors"
    assert sorted(place.files()) == [newest, "log.jsonl", "run.yaml", "splats.ply"]
    assert place.read(["run.yaml", "no"]) == {"run.yaml": FINISHED.encode()}


def test_a_refused_file_is_tried_again_after_growing_waits(place, run, monkeypatch):
    put, faults, waits = Remote.put, [1, 1, 1], []

    def refused(self, name, content):
        if name == "splats.ply" and faults:
            faults.pop()
            raise PermissionError("not now")
        put(self, name, content)

    monkeypatch.setattr(Remote, "put", refused)
    monkeypatch.setattr(module.time, "sleep", waits.append)
    end(run)
    signs = []
    Upload(run, place).whole(lambda: signs.append(1))
    assert waits == [1.0, 2.0, 4.0] and "splats.ply" in place.files()
    # Before each attempt, so that nobody takes a slow upload for a row that hangs.
    assert len(signs) == len(place.files()) + 3
    work.remove(run)
    work.fetch(place, run, lambda: signs.append(1))
    assert len(signs) == 2 * len(place.files()) + 3


def test_a_row_whose_upload_fails_is_not_done(place, run, monkeypatch):
    put = Remote.put

    def refused(self, name, content):
        if name == "splats.ply":
            raise PermissionError("no room")
        put(self, name, content)

    Upload(run, place).unfinished()
    monkeypatch.setattr(Remote, "put", refused)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    end(run)
    with pytest.raises(UserError, match=r"cannot be uploaded to .*cat \(no room\)"):
        Upload(run, place).whole()
    assert place.read(["run.yaml"])["run.yaml"] == RUNNING.encode() and run.exists()


def test_a_checkpoint_is_uploaded_while_a_run_goes_on_and_fetched_elsewhere(
    place, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    sent, put = module.threading.Event(), Remote.put

    def seen(self, name, content):
        put(self, name, content)
        if name == "run.yaml":
            sent.set()

    monkeypatch.setattr(Remote, "put", seen)
    with following(Upload(run, place), lambda line: pytest.fail(line)):
        assert sent.wait(20)
    other = tmp_path / "other" / "cat"
    work.fetch(place, other)
    names = sorted(p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file())
    assert names == ["checkpoint/step_0000002.safetensors", "log.jsonl", "run.yaml"]
    (run / "checkpoint" / "step_0000003.safetensors").write_bytes(b"3")
    Upload(run, place).unfinished()
    work.fetch(place, other)
    assert [p.name for p in (other / "checkpoint").iterdir()] == ["step_0000003.safetensors"]
    assert "checkpoint/step_0000002.safetensors" not in place.files()


def test_what_is_newer_here_is_kept(place, run):
    Upload(run, place).unfinished()
    (run / "checkpoint" / "step_0000003.safetensors").write_bytes(b"3")
    end(run)  # and then its upload failed
    work.fetch(place, run)
    assert (run / "splats.ply").exists()


def test_a_run_that_has_ended_is_not_taken_for_one_that_goes_on(place, run):
    end(run)
    Upload(run, place).unfinished()
    assert not place.files()


def test_faults_while_a_run_goes_on_are_said_once(place, run, monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    tried, said = module.threading.Semaphore(0), []

    def refused(self, name, content):
        tried.release()
        raise PermissionError("no")

    monkeypatch.setattr(Remote, "put", refused)
    with following(Upload(run, place), said.append):
        assert all(tried.acquire(timeout=20) for _ in range(3))
    assert len(said) == 1 and "checkpoint cannot be uploaded" in said[0]


def test_files_outside_a_row_are_not_fetched(tmp_path, run, monkeypatch):
    place = opened(f"file://{tmp_path}/far/cat")
    Upload(run, place).unfinished()
    monkeypatch.setattr(
        LocalFileSystem, "find", lambda self, root: [f"{root}/run.yaml", f"{root}/../../evil"]
    )
    assert place.files() == ["run.yaml"]


def test_the_folder_of_a_row_is_found_again_and_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr(work.tempfile, "gettempdir", lambda: str(tmp_path))
    place = opened(f"file://{tmp_path}/far/cat")
    folder = work.work_folder(place, "settings")
    assert folder == work.work_folder(place, "settings") and folder.name == "cat"
    assert folder != work.work_folder(place, "others")
    assert folder.parents[1].stat().st_mode & 0o077 == 0
    folder.parents[1].rmdir()
    folder.parents[1].symlink_to(tmp_path)
    with pytest.raises(UserError, match="belongs to another user; set TMPDIR"):
        work.work_folder(place, "settings")


def test_what_is_a_url():
    assert is_url("s3://a/b") and is_url("file:///a")
    assert not is_url("outputs/x") and not is_url("/a") and not is_url("C://x")


@pytest.mark.parametrize(
    "url,message",
    [
        ("nowhere://a/b", "Protocol not known"),
        ("memory://a", "expected a URL that all processes reach"),
        ("s3://a/*", "expected a URL that all processes reach"),
        ("sftp://me:secret@host/a", "expected a URL without a password"),
        ("file:///proc/none", "cannot be written"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line(url, message):
    with pytest.raises(UserError, match=message) as caught:
        check(opened(url))
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.delitem(_registry, "s3", raising=False)  # another test may have loaded it
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError) as caught:
        opened("s3://bucket/a")
    assert 's3:// needs a library; `pip install "gs3d[batch]"`' in str(caught.value)


def test_copies_from_a_bucket_are_made_beside_the_batch(tmp_path, monkeypatch):
    far = tmp_path / "far"
    names = [f"row-{i}" for i in range(20)]
    for name in names:
        (far / name).mkdir(parents=True)
        (far / name / "strip.webp").write_bytes(name.encode())
    results = Results(tmp_path / "near", Remote("s3://bucket/far", LocalFileSystem(), str(far)))
    answers, get = threading.Event(), Remote.get
    monkeypatch.setattr(Remote, "get", lambda s, n, f: (answers.wait(60), get(s, n, f)))
    with Copies(results) as copies:
        for name in names:
            copies.add(name, "strip.webp")
        assert not (tmp_path / "near").exists()
        answers.set()
    found = {p.parent.name: p.read_text() for p in (tmp_path / "near").glob("*/strip.webp")}
    assert found == {name: name for name in names}


def test_a_batch_that_stops_waits_for_no_copies(tmp_path, monkeypatch):
    asked = []
    place = Remote("s3://bucket/far", LocalFileSystem(), str(tmp_path))
    answers = threading.Event()
    monkeypatch.setattr(Remote, "get", lambda s, n, f: (asked.append(n), answers.wait(60)))
    with Copies(Results(tmp_path / "near", place)) as copies:
        for i in range(200):
            copies.add(f"row-{i}", "strip.webp")
        copies.stop()
        threading.Timer(0.2, answers.set).start()
    assert len(asked) < 200
