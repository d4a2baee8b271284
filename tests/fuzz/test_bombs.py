"""Small settings, records, lists and weight files that stand for gigabytes, or are nested deeply.

Splats, meshes and images have their own (tests/io/bombs.py). All are read in one process that may
map a gigabyte more than it has after its imports. `python -m tests.fuzz.test_bombs` prints each.
"""

import io
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gs3d.core.errors import UserError

DEEP = "[" * 200_000
Check = Callable[[Path], object]


def _settings() -> Iterator[tuple[str, str, bytes, Check]]:
    from gs3d.distill.settings.changes import set_value
    from gs3d.distill.settings.files import read_settings
    from gs3d.runs.folders import run_yaml
    from tests.io.test_plain_yaml import BOMBS

    for what, text in BOMBS.items():
        data = text.encode()
        yield f"config of {what}", "a.yaml", data, read_settings
        # A record that cannot be read is as none.
        read = lambda path: run_yaml(path.parent) or _refused()  # noqa: E731
        yield f"record of {what}", "run.yaml", data, read
    for text in ("[" * 5000, "!!bool x", "9" * 10_000):
        yield f"--set {text[:9]}", "a", b"", lambda _, t=text: set_value({}, f"batch={t}")


def _lists() -> Iterator[tuple[str, str, bytes, Check]]:
    from gs3d.batch.rows import read_rows

    yield "a row of deep lists", "a.jsonl", f'{{"prompt": {DEEP}'.encode(), read_rows
    number = b'{"prompt": "a", "seed": ' + b"9" * 10**6 + b"}"
    yield "a row with a long number", "a.jsonl", number, read_rows
    yield "a million rows", "a.txt", b"".join(b"a cat %d\n" % i for i in range(10**6)), read_rows
    yield "a cell of 10 MB", "a.csv", b"prompt\n" + b"x" * 10**7, read_rows
    long_name = json.dumps({"prompt": "a cat", "name": "x" * 10**6})
    twice = f"{long_name}\n{long_name}".encode()
    yield "a name of a million letters, twice", "a.jsonl", twice, read_rows


def _header(tree: str, length: int | None = None) -> bytes:
    data = tree.encode()
    return struct.pack("<Q", len(data) if length is None else length) + data


def _weights() -> Iterator[tuple[str, str, bytes, Check]]:
    from gs3d.distill.checkpoint import newest_checkpoint
    from gs3d.priors.files.contents import read_contents

    def checkpoint(path: Path) -> object:
        return newest_checkpoint(path.parent) or _refused()

    entry = '"%d":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    many = "{" + ",".join(entry % i for i in range(400_000)) + "}"
    huge = '{"a":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4]}}'
    long_ = json.dumps({"a": {"dtype": "F32", "shape": [1] * 10**6, "data_offsets": [0, 4]}})
    state = json.dumps({"__metadata__": {"gs3d": DEEP}, "a": {}})
    odd = json.dumps({"step": "x", "elapsed_s": 1, "progress": 0.5, "accepted_progress": []})
    odd = json.dumps({"__metadata__": {"gs3d": odd}})
    for what, data in {
        "a header of 2⁶³ bytes": _header("{}", 2**63),
        "a header of 2⁶⁴ − 1 bytes": _header("{}", 2**64 - 1),
        "a header of 90 MB": _header("{" + " " * 90_000_000 + "}"),
        "a header of many lists": _header('{"a":[' + "[]," * 5_000_000 + "[]]}"),
        "a header of deep lists": _header(f'{{"a":{DEEP}'),
        "a header of 400,000 tensors": _header(many),
        "a tensor of 10¹⁸ numbers": _header(huge) + bytes(4),
        "a tensor of a million dimensions": _header(long_) + bytes(4),
        "deep lists in its notes": _header(state),
        "a step that is no number": _header(odd),
    }.items():
        name = "step_0000001.safetensors"
        if "tensor of" not in what:  # which is left to the library that reads it
            yield f"weights: {what}", name, data, lambda path: read_contents("the model", path)
        yield f"checkpoint: {what}", name, data, checkpoint


def _cards() -> Iterator[tuple[str, str, bytes, Check]]:
    from gs3d.priors.about.license import license_of

    for what, data in {
        "of empty lines": b"---" + b"\n" * 10**6,
        "of deep lists": b"---\na: " + DEEP.encode() + b"\n---\n",
        "of deep blocks": b"---\n" + b"- " * 10**5 + b"\n---\n",
    }.items():
        yield f"card {what}", "README.md", data, lambda path: license_of(path.parent) or _refused()


def _records() -> Iterator[tuple[str, str, bytes, Check]]:
    from gs3d.runs.outputs.log import read_log, trim_log
    from gs3d.runs.outputs.preview_strip import NOTE, read_rows

    def trimmed(path: Path) -> object:
        trim_log(path, 9)
        return path.read_text() or _refused()

    deep = f"{DEEP}\n".encode()
    yield "log of deep lists", "log.jsonl", deep, lambda path: read_log(path) or _refused()
    yield "log of deep lists, resumed", "log.jsonl", deep, trimmed
    for what, side, note in (("of deep lists", 8, DEEP), ("of 20,000²", 20_000, "[[0, 0]]")):
        stream, notes = io.BytesIO(), PngInfo()
        notes.add_text(NOTE, note)
        Image.new("1", (side, side)).save(stream, "PNG", pnginfo=notes)
        data = stream.getvalue()
        yield f"strip {what}", "progress.png", data, lambda path: read_rows(path) or _refused()


def _refused() -> None:
    raise UserError("refused")


def main() -> dict[str, object]:
    """Read every file. Returns the failures, the slowest file and the number of files."""
    import torch

    from tests.io.test_damaged import limit_memory

    torch.set_num_threads(1)
    cases = [*_settings(), *_lists(), *_weights(), *_cards(), *_records()]
    limit_memory()
    failures, slowest = [], (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for what, name, data, read in cases:
            print(what, file=sys.stderr, flush=True)
            path = Path(folder) / name
            path.write_bytes(data)
            start = time.perf_counter()
            try:
                read(path)
                failures.append(f"{what}: was read")
            except UserError as error:
                if len(str(error).splitlines()) != 1 or len(str(error)) > 700:
                    failures.append(f"{what}: not one short line: {str(error)[:300]}")
            except BaseException as error:
                failures.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
            slowest = max(slowest, (time.perf_counter() - start, what))
            path.unlink()
    return {"files": len(cases), "failures": failures, "slowest": slowest}


def test_each_is_refused_in_one_line_in_a_gigabyte():
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.test_bombs"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, f"the process ended at: {run.stderr[-1000:]}"
    report = json.loads(run.stdout)
    assert not report["failures"], "\n".join(report["failures"])
    assert report["files"] >= 40


if __name__ == "__main__":
    print(json.dumps(main()))
