"""Every reader on hundreds of damaged files: each is read, or refused in one line, in low memory.

`python -m tests.io.test_damaged FIRST LAST` runs more seeds and prints the failures.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from gs3d.core.errors import UserError
from gs3d.core.types import Splats

SEEDS = 6
"""Enough for each kind of random damage to any format."""
MEMORY_BYTES = 2**30
"""Address space that the process may map beyond what it has after its imports and after reading the
valid files: small enough for a small machine. The limit is on mapped, not on touched memory, so
that an allocation is refused even if the system would only reserve it. Most readers need a few
megabytes. An .spz may decompress to 64 MB (gs3d.io.spz.container), three million splats."""


def limit_memory() -> None:
    """Let this process map at most MEMORY_BYTES more."""
    try:
        import resource

        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):
        return  # Not Linux: no limit, so a file that fills the memory is only slow.
    mapped = 1024 * int(status.split("VmSize:")[1].split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, resource.RLIM_INFINITY))


def _splats_valid(splats: Splats, parts: dict[str, np.ndarray]) -> bool:
    opacities, lengths = parts["opacities"], {len(part) for part in parts.values()}
    return (
        len(splats) > 0
        and len(lengths) == 1
        and parts["scales"].min() >= 0
        and 0 <= opacities.min() <= opacities.max() <= 1
        and parts["sh"].shape[1] in (1, 4, 9, 16)
        and bool((np.abs(np.linalg.norm(parts["quats"], axis=1) - 1) < 1e-5).all())
    )


def _mesh_valid(mesh) -> bool:
    return (
        len(mesh.faces) > 0
        and 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
        and len(mesh.vertices) == len(mesh.normals)
    )


def _defect(asset) -> str | None:
    """What is wrong with the splats or the mesh that a reader returned; None if valid."""
    parts = {name: np.asarray(part) for name, part in vars(asset).items()}
    if bad := [name for name, part in parts.items() if not np.isfinite(part).all()]:
        return f"not finite: {', '.join(bad)}"
    valid = _splats_valid(asset, parts) if isinstance(asset, Splats) else _mesh_valid(asset)
    return None if valid else "not valid"


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and its causes."""
    return [error, *_chain(error.__cause__ or error.__context__)] if error else []


def _try_to_read(load, path: Path) -> tuple[bool, str | None]:
    """Whether `path` was read, and the failure of the test, if any."""
    try:
        return True, _defect(load(path))
    except UserError as error:
        if any(isinstance(e, MemoryError) or "allocate" in str(e) for e in _chain(error)):
            return False, f"out of memory: {error}"
        text = str(error)
        if len(text.splitlines()) == 1 and len(text) < 700 and str(path) in text:
            return False, None
        return False, f"not one line that names the file: {text[:900]!r}"
    except BaseException as error:
        return False, f"{type(error).__name__}: {str(error)[:300]}"


def main(first: int, last: int) -> None:
    """Read the handmade files and the random ones of these seeds; print a report as JSON.

    The description of each file goes to stderr first, so that a crash can be attributed.
    """
    import torch

    from gs3d.io import load_asset, load_splats
    from tests.io.bombs import handmade_damage
    from tests.io.damage import random_damage, valid_files

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failures, loaded, refused, slowest = [], 0, 0, (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        good = valid_files(Path(folder))
        for name in good:
            assert _try_to_read(load_asset, Path(folder) / name) == (True, None), name
        cases = [*handmade_damage(good), *random_damage(good, range(first, last))]
        limit_memory()
        for what, suffix, data in cases:
            print(what, file=sys.stderr, flush=True)
            path = Path(folder) / f"damaged{suffix}"
            path.write_bytes(data)
            for load in (load_asset, load_splats) if suffix == ".glb" else (load_splats,):
                start = time.perf_counter()
                was_read, failure = _try_to_read(load, path)
                loaded, refused = loaded + was_read, refused + (not was_read)
                slowest = max(slowest, (time.perf_counter() - start, what))
                failures += [f"{what}: {failure}"] if failure else []
    report = {"files": len(cases), "loaded": loaded, "refused": refused}
    print(json.dumps(report | {"slowest": slowest, "failures": failures}))


def test_damaged_files_are_read_or_refused_in_one_line():
    command = [sys.executable, "-m", "tests.io.test_damaged", "0", str(SEEDS)]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, f"the process ended at: {run.stderr[-1000:]}"
    report = json.loads(run.stdout)
    assert not report["failures"], "\n".join(report["failures"])
    assert report["files"] >= 350 and report["loaded"] >= 50 and report["refused"] >= 100
    assert report["slowest"][0] < 240  # none hangs; a busy machine took 49 s


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
