"""Count what a row sends to S3: requests and bytes, by the real code to a server on this machine.

`python benchmarks/uploads.py [--splats 200000] [--record]`. The folder of the row holds files of
the sizes that a run of that many splats leaves, but of zeros. Wants `pip install "gs3d[dev]"`.
"""

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro
from record import append, machine

from gs3d.batch.remote.folder import Remote, opened
from gs3d.batch.remote.upload import Upload
from gs3d.batch.remote.work import fetch
from gs3d.io import SPLATS

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
SPLAT_BYTES, CHECKPOINT_BYTES = 68, 176
"""Of a splat in splats.ply, and in a checkpoint with the moments of Adam."""
PICTURES = {
    "log.png": 45_000,
    "preview.png": 900_000,
    "strip.webp": 10_000,
    "turntable.mp4": 500_000,
}
"""Bytes of the files that come with the result, some."""


@dataclass(frozen=True)
class Args:
    splats: int = 200_000
    """Splats of the result."""
    names: int = 1000
    """Rows whose run.yaml a restart asks for; a tenth of them are there."""
    record: bool = False
    """Append the result to results.jsonl."""


@dataclass
class Counted:
    """Requests to a server."""

    url: str = ""
    requests: Counter[str] = field(default_factory=Counter[str])
    """Method -> number."""
    bytes: int = 0

    def since(self) -> dict[str, Any]:
        """What came since the last time."""
        found = {"requests": dict(self.requests), "mb": round(self.bytes / 1e6, 2)}
        self.requests.clear()
        self.bytes = 0
        return found


@contextmanager
def server() -> Iterator[Counted]:
    """An S3 in this process."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: Any) -> None:
            """Nothing."""

    app, counted = DomainDispatcherApplication(create_backend_app), Counted()

    def answer(environment: Any, start: Any) -> Any:
        method = environment["REQUEST_METHOD"]
        if method == "GET" and "list-type" in environment["QUERY_STRING"]:
            method = "LIST"
        counted.requests[method] += 1
        counted.bytes += int(environment.get("CONTENT_LENGTH") or 0)
        return app(environment, start)

    found = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    counted.url = f"http://127.0.0.1:{found.server_port}"
    yield counted
    found.shutdown()
    thread.join()


def write(folder: Path, name: str, size: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(size))


def checkpoint(folder: Path, step: int, splats: int) -> None:
    """What a run has written once it has its next checkpoint."""
    write(folder, f"checkpoint/step_{step:07d}.safetensors", splats * CHECKPOINT_BYTES)
    write(folder, "log.jsonl", step * 300)
    write(folder, "progress.png", 25_000 + step)
    (folder / "run.yaml").write_text("result: null\n")


def measure(counted: Counted, folder: Path, place: Remote, args: Args) -> dict[str, Any]:
    """What each part of a row's life sends."""
    row: dict[str, Any] = {}
    upload = Upload(folder, place)
    checkpoint(folder, 1, args.splats)
    upload.unfinished()
    row["first checkpoint"] = counted.since()
    checkpoint(folder, 2, args.splats)
    upload.unfinished()
    row["next checkpoint"] = counted.since()
    fetch(place, folder.parent / "other")
    row["a row taken over"] = counted.since()
    checkpoint(folder, 3, args.splats)
    write(folder, SPLATS, args.splats * SPLAT_BYTES)
    for name, size in PICTURES.items():
        write(folder, name, size)
    (folder / "run.yaml").write_text("result: {outcome: finished}\n")
    upload.whole()
    row["end"] = counted.since()
    for number in range(0, args.names, 10):
        place.fs.pipe_file(f"{place.root}/{number}/run.yaml", b"result: {outcome: finished}\n")
    counted.since()
    found = place.read([f"{number}/run.yaml" for number in range(args.names)])
    assert len(found) == len(range(0, args.names, 10))
    row[f"{args.names} rows asked for"] = counted.since()
    return row


def main(args: Args) -> None:
    shared = machine()
    with server() as counted, tempfile.TemporaryDirectory() as temporary:
        os.environ.update(KEYS | {"AWS_ENDPOINT_URL": counted.url})
        place = opened("s3://bucket/night/row")
        place.fs.mkdir("bucket")
        counted.since()
        row = measure(counted, Path(temporary) / "row", place, args)
    for name, value in row.items():
        print(f"{name:<20} {value}")
    if args.record:
        append("uploads", {"splats": args.splats, "parts": row}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
