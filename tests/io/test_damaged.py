"""What is damaged is read, or refused in one line, in little memory. Every reader, hundreds of files, and none of them by name.

`python -m tests.io.test_damaged FIRST LAST` reads those of more seeds and prints what should not have happened.
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

SEEDS = 40
MEMORY = 2**30
"""How much more than it has after its imports, and after it has read the good files, a process may map: little for a small machine. Not how
much it may touch: what a system would promise and never give is refused too. Readers of all files but one need a few megabytes; an .spz may
unpack to 64 MB (spz_file.py), which makes three million splats."""


def _limit_memory() -> None:
    try:
        import resource

        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):
        return  # other systems: nothing is limited, and what fills the memory only takes long
    mapped = 1024 * int(status.split("VmSize:")[1].split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, resource.RLIM_INFINITY))


def _unsound(made) -> str | None:
    """What is wrong with what was read."""
    parts = {name: np.asarray(part) for name, part in vars(made).items()}
    if not all(np.isfinite(part).all() for part in parts.values()):
        return "not finite: " + ", ".join(
            name for name, part in parts.items() if not np.isfinite(part).all()
        )
    if isinstance(made, Splats):
        sound = (
            len(made) > 0
            and parts["scales"].min() >= 0
            and 0 <= parts["opacities"].min() <= parts["opacities"].max() <= 1
        )
        sound &= len({len(part) for part in parts.values()}) == 1 and parts["sh"].shape[1] in (
            1,
            4,
            9,
            16,
        )
        sound &= bool((np.abs(np.linalg.norm(parts["quats"], axis=1) - 1) < 1e-5).all())
    else:
        sound = len(made.faces) > 0 and 0 <= made.faces.min() <= made.faces.max() < len(
            made.vertices
        ) == len(made.normals)
    return None if sound else "not sound"


def _caused_by(error: BaseException | None) -> list[BaseException]:
    return [error, *_caused_by(error.__cause__ or error.__context__)] if error else []


def _fault(load, path: Path) -> tuple[bool, str | None]:
    """Whether `path` was read, and what should not have happened."""
    try:
        return True, _unsound(load(path))
    except UserError as error:
        if any(
            isinstance(cause, MemoryError) or "allocate" in str(cause)
            for cause in _caused_by(error)
        ):
            return False, f"out of memory: {error}"
        lines = str(error).splitlines()
        return False, None if len(lines) == 1 and len(lines[0]) < 700 and str(path) in lines[
            0
        ] else f"not one line: {str(error)[:900]!r}"
    except BaseException as error:
        return False, f"{type(error).__name__}: {str(error)[:300]}"


def main(first: int, last: int) -> None:
    """Read all damaged files of these seeds, and those made by hand; JSON to stdout, before each file its name to stderr."""
    import torch

    from gs3d.io import load_asset, load_splats
    from tests.io.bombs import by_hand
    from tests.io.damage import by_chance, good_files

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    faults, loaded, refused, slowest = [], 0, 0, (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        good = good_files(Path(folder))
        for name in good:
            assert _fault(load_asset, Path(folder) / name) == (True, None), name
        cases = [*by_hand(good), *by_chance(good, range(first, last))]
        _limit_memory()
        for what, suffix, data in cases:
            print(what, file=sys.stderr, flush=True)
            path = Path(folder) / f"damaged{suffix}"
            path.write_bytes(data)
            for load in (load_asset, load_splats) if suffix == ".glb" else (load_splats,):
                began = time.perf_counter()
                read, fault = _fault(load, path)
                loaded, refused = loaded + read, refused + (not read)
                slowest = max(slowest, (time.perf_counter() - began, what))
                faults += [f"{what}: {fault}"] if fault else []
    print(
        json.dumps(
            {
                "files": len(cases),
                "loaded": loaded,
                "refused": refused,
                "slowest": slowest,
                "faults": faults,
            }
        )
    )


def test_damaged_files_are_read_or_refused_in_one_line():
    command = [sys.executable, "-m", "tests.io.test_damaged", "0", str(SEEDS)]
    run = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, f"the process ended at: {run.stderr[-1000:]}"
    report = json.loads(run.stdout)
    assert not report["faults"], "\n".join(report["faults"])
    assert report["files"] >= 400 and min(report["loaded"], report["refused"]) >= 100
    assert report["slowest"][0] < 30


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
