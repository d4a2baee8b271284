"""Rows at a URL: s3:// on a server on this machine that may refuse, and file://."""

import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gs3d.batch.plan import planned
from gs3d.batch.remote import upload
from gs3d.batch.remote.folder import opened
from gs3d.batch.remote.upload import newest_step
from gs3d.batch.rows import read_rows
from gs3d.batch.shown import index
from gs3d.batch.status import rebuild, status_of
from gs3d.batch.workers.job import Job
from gs3d.batch.workers.make import Kept, ended, make
from gs3d.core.errors import UserError
from gs3d.runs.outputs import files, plot
from tests.batch.test_batch import batch_in, changed, made
from tests.small import SMALL, blank_figure

NAME = "a-red-mushroom-s0"
KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"


@pytest.fixture(scope="module")
def server():
    """A server of S3, and the methods of its requests. It refuses as many writes of files whose
    names end in `what` as `times`."""
    pytest.importorskip("s3fs", reason='wants `pip install "gs3d[batch]"`')
    pytest.importorskip("moto", reason='wants `pip install "gs3d[dev]"`')
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    refusal = SimpleNamespace(what="", times=0)
    methods = []

    def answer(environment, start):
        methods.append(environment["REQUEST_METHOD"])
        writes = environment["REQUEST_METHOD"] == "PUT"
        if writes and refusal.times and environment["PATH_INFO"].endswith(refusal.what):
            refusal.times -= 1
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [DENIED]
        return app(environment, start)

    found = make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{found.server_port}"
    yield SimpleNamespace(refusal=refusal, methods=methods, url=url)
    found.shutdown()
    thread.join()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """The URL of an empty folder in a bucket, and the refusal of its server."""
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": server.url, "TMPDIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server.refusal.times = 0
    url = f"s3://bucket/{tmp_path.name}"
    fs = opened(url).fs
    if not fs.exists("bucket"):
        fs.mkdir("bucket")
    return SimpleNamespace(url=url, refusal=server.refusal, methods=server.methods)


@pytest.fixture
def job(tiny_builtin_folder, tmp_path, bucket, monkeypatch):
    """A row of two iterations with small pictures, which goes to the bucket."""
    for name, value in SMALL.items():
        monkeypatch.setattr(files, name, value)
    monkeypatch.setattr(plot, "draw_figure", blank_figure)
    monkeypatch.setattr(upload, "WAITS_S", (0.01,) * 6)
    batch = changed(batch_in(tmp_path, tiny_builtin_folder), steps=2)
    (row, *_) = planned(batch, read_rows(batch.rows))
    return Job(row.request, f"{bucket.url}/{NAME}")


def made_here(job):
    """The event with which a row ends that this process makes."""
    return ended(lambda: make(job, lambda event: None, Kept()))


def test_a_row_is_there_although_the_server_refuses_at_first(job, bucket, tmp_path):
    bucket.refusal.what, bucket.refusal.times = "splats.ply", 3
    assert made_here(job)["event"] == "ended" and bucket.refusal.times == 0
    names = opened(job.url).files()
    assert {"splats.ply", "preview.png", "strip.webp", "log.jsonl", "run.yaml"} <= {*names}
    assert newest_step(names) == "checkpoint/step_0000002.safetensors"
    assert not list(tmp_path.glob("gs3d-rows-*/*")) and not job.request.out.exists()


def test_a_row_that_the_server_never_takes_fails_is_kept_and_is_there_later(job, bucket):
    bucket.refusal.what, bucket.refusal.times = "run.yaml", 10**6
    last = made_here(job)
    assert last["event"] == "failed" and f"cannot be uploaded to {job.url} (" in last["reason"]
    folder = Path(last["reason"].partition("its files are in ")[2].rpartition(" on ")[0])
    assert (folder / "splats.ply").exists() and "run.yaml" not in opened(job.url).files()
    before = (folder / "log.jsonl").read_bytes()
    bucket.refusal.times = 0
    assert made_here(job)["event"] == "ended" and not folder.exists()
    assert opened(job.url).read(["log.jsonl"]) == {
        "log.jsonl": before
    }  # nothing was computed again


def test_a_file_takes_one_request(bucket, tmp_path):
    place, file = opened(bucket.url), tmp_path / "splats.ply"
    file.write_bytes(bytes(2_000_000))
    bucket.methods.clear()
    place.put("row/splats.ply", file)
    place.put("row/run.yaml", b"result: null")
    assert bucket.methods == ["PUT", "PUT"]
    found = place.read(["row/splats.ply", "row/run.yaml"])
    assert found == {"row/splats.ply": bytes(2_000_000), "row/run.yaml": b"result: null"}


def test_a_batch_of_local_workers_goes_to_the_server(
    bucket, tiny_builtin_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    batch = changed(batch_in(tmp_path, tiny_builtin_folder), steps=2, out=bucket.url)
    batch = changed(batch, rows=tmp_path / "one.txt")
    batch.rows.write_text("a red mushroom\n")
    status, said, events = made(batch)
    assert status == 0 and f"to {bucket.url}, shown in outputs/batch-one" in said[-1]
    assert "splats.ply" in opened(f"{bucket.url}/{NAME}").files()
    assert [path.name for path in (batch.folder / NAME).iterdir()] == ["strip.webp"]
    (entry,) = status_of(batch.folder)
    assert entry.state == "done" and entry.pieces > 0
    status, said, events = made(batch)
    assert status == 0 and not events
    with pytest.raises(UserError, match=f"{bucket.url}/{NAME} holds another run: that run has"):
        made(changed(batch, set=("gaussians.count=70",)))
    index.remove(batch.folder)
    assert [again.state for again in rebuild(batch.folder)] == ["done"]


def test_a_bucket_without_rights_is_one_line(bucket, tiny_builtin_folder, tmp_path):
    batch = changed(batch_in(tmp_path, tiny_builtin_folder), out=bucket.url)
    bucket.refusal.what, bucket.refusal.times = "", 10**6
    with pytest.raises(UserError, match=f"{bucket.url}: cannot be written .not yours.") as caught:
        made(batch)
    bucket.refusal.times = 0
    other = changed(batch, out="s3://buket/x")
    with pytest.raises(UserError, match="buket/x: cannot be written .The specified bucket does"):
        made(other)
    assert "\n" not in str(caught.value) and not batch.folder.exists()
