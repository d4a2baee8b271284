"""A guidance loss for rows of other processes, which does what the test wants at some iteration."""

import json

LOSS = '''
"""SDS that does what the files beside it say. It also makes results small."""
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from gs3d.guidance import Sds

BESIDE = Path(__file__).parent
NODE = os.environ.get("GS3D_TEST_NODE")
if NODE:  # not in the process of the tests
    from gs3d.runs.outputs import files, plot
    from tests.small import SMALL, blank_figure
    for name, value in SMALL.items():
        setattr(files, name, value)
    plot.draw_figure = blank_figure

def has_stopped():
    """Whether the run has got Ctrl-C, after which a second one has its usual effect."""
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler

@dataclass(frozen=True)
class Loss(Sds):
    def __call__(self, prior, condition, z0, progress, seed, step):
        if NODE:
            with open(BESIDE / "steps.txt", "a") as file:
                file.write(f"{NODE} {step} {os.getpid()} {id(prior)}\\n")
            if step == 3 and (BESIDE / "kill").exists():
                (BESIDE / "kill").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if step == 3 and (BESIDE / "kill-always").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            if step == 1 and (BESIDE / "fail").exists():
                (BESIDE / "fail").unlink()
                raise RuntimeError("a fault of CUDA")
            full = BESIDE / "memory"  # of one process, which tries again with fewer views
            if step == 1 and full.exists() and full.read_text() in ("", str(os.getpid())):
                full.write_text(str(os.getpid()))
                bytearray(1 << 60)
            while step == 3 and (BESIDE / f"hold-{NODE}").exists():
                time.sleep(0.05)
            while step == 1 and (BESIDE / "until-ctrl-c").exists() and not has_stopped():
                time.sleep(0.05)
        return super().__call__(prior, condition, z0, progress, seed, step)
'''
NAME = "a-red-mushroom-s0"


def kinds(events):
    return [kind for _, kind in events if kind not in ("step", "warning")]


def logged(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def computed(batch):
    """(node, step, process, object of the prior) of each iteration that was computed."""
    lines = (batch.rows.parent / "steps.txt").read_text().splitlines()
    return [(name, int(step), *rest) for name, step, *rest in map(str.split, lines)]


def is_continued(batch):
    """Whether the last process of a row began after its first iteration."""
    found = computed(batch)
    return min(step for _, step, process, _ in found if process == found[-1][2]) > 0
