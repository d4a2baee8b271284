"""Files and models with one field changed: right, or one line; never a traceback, a hang, a lot of
memory, or a silent change.

`python -m tests.fuzz.test_fuzz FIRST LAST` tries the seeds from FIRST to LAST and prints what went
wrong. `make fuzz` tries 2,000.
"""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from tests.io.test_damaged import _chain, _defect, limit_memory

SEEDS = 45
MODEL_EVERY = 3
"""Every third seed changes a model."""
SECONDS = 10
FORMATS = (".ply", ".glb", ".splat", ".spz", ".compressed.ply", ".sog")
EXACT = (".ply", ".glb")
"""Formats that keep all but the least scales and the logits of 0 and 1."""


class Hang(BaseException):
    """More than `SECONDS` have passed."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def refusal_fault(error: UserError, path: Path) -> str | None:
    """What is wrong with a refusal; None for one line that names the file."""
    text = error.for_command_line
    if any(isinstance(e, MemoryError) or "allocate" in str(e) for e in _chain(error)):
        return f"out of memory: {text[:200]}"
    if len(text.splitlines()) != 1 or len(text) > 900 or str(path) not in text:
        return f"not one line that names the file: {text[:300]!r}"
    return None


def check_file(path: Path) -> str | None:
    """The failure of the test for a changed file; None if it is right, or refused in one line."""
    from gs3d.io import load_asset

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asset = load_asset(path)
    except UserError as error:
        return refusal_fault(error, path)
    if long := [w for w in caught if len(str(w.message).splitlines()) != 1]:
        return f"a warning of several lines: {long[0].message}"
    if defect := _defect(asset):
        return defect
    return check_round_trips(asset, path.parent) if isinstance(asset, Splats) else None


def check_round_trips(splats: Splats, folder: Path) -> str | None:
    from gs3d.io import load_splats, save_splats

    for suffix in FORMATS:
        path = folder / f"again{suffix}"
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                save_splats(path, splats)
                back = load_splats(path)
        except UserError as error:
            if fault := refusal_fault(error, path):
                return f"{suffix}: {fault}"
            continue
        if len(back) != len(splats) and not caught:
            return f"{suffix}: {len(back)} of {len(splats)} splats, without a line"
        if suffix in EXACT and (lost := difference(splats, back)) and not caught:
            return f"{suffix}: {lost}, without a line"
    return None


def difference(one: Splats, other: Splats) -> str | None:
    """What differs beyond the rounding of a .ply; None if nothing does."""
    if len(one) != len(other):
        return "the number of splats"
    for name, relative, absolute in (
        ("means", 1e-6, 1e-30),
        ("scales", 1e-4, 1e-30),
        ("opacities", 0.0, 1e-6),
        ("sh", 1e-5, 1e-5),
    ):
        a, b = getattr(one, name).double(), getattr(other, name).double()
        # Rotating harmonics mixes those of a splat.
        size = b.abs().flatten(1).amax(1).view(-1, *[1] * (b.ndim - 1)) if name == "sh" else b.abs()
        if a.shape != b.shape or ((a - b).abs() > absolute + relative * size).any():
            return name
    return None


def check_model(folder: Path) -> str | None:
    """The failure of the test for a changed model."""
    from gs3d.priors import load

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prior = load(folder, "cpu")
    except UserError as error:
        return refusal_fault(error, folder)
    text = prior.embed(["red", "blue 5"])
    if not text.isfinite().all() or torch.equal(text[0], text[1]):
        return "it ignores the prompt"
    z = torch.zeros(1, *prior.latent_shape)
    if not prior.denoise(z, torch.ones(1), text[:1]).isfinite().all():
        return "it denoises to NaN"
    return None


def main(first: int, last: int) -> None:
    """Try seeds; print a report as JSON. Each is named on stderr first, in case of a crash."""
    from tests.conftest import write_tiny_sd
    from tests.fuzz import files, models

    torch.set_num_threads(1)
    failures, slowest = [], (0.0, "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = files.valid(folder)
        for file in good:
            assert (fault := check_file(folder / file)) is None, (file, fault)
        model = write_tiny_sd(folder / "good" / "model")
        assert (fault := check_model(model)) is None, fault
        limit_memory()
        for seed in range(first, last):
            if seed % MODEL_EVERY == 0:
                path, check = folder / "model", check_model
                what = models.changed(model, path, seed)
            else:
                what, suffix, data = files.changed(good, seed)
                path, check = folder / f"changed{suffix}", check_file
                path.write_bytes(data)
            print(what, file=sys.stderr, flush=True)
            start = time.perf_counter()
            try:
                with time_limit():
                    fault = check(path)
            except Hang:
                fault = f"more than {SECONDS} s"
            except BaseException as error:
                fault = f"{type(error).__name__}: {str(error)[:300]}"
            slowest = max(slowest, (time.perf_counter() - start, what))
            failures += [f"{what}: {fault}"] if fault else []
    print(json.dumps({"seeds": last - first, "slowest": slowest, "failures": failures}))


def test_changed_files_and_models_are_right_or_refused_in_one_line():
    command = [sys.executable, "-m", "tests.fuzz.test_fuzz", "0", str(SEEDS)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"the process ended at: {done.stderr[-1000:]}"
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["seeds"] == SEEDS
    assert not report["failures"], "\n".join(report["failures"])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
