"""A run in minutes whose process is stopped for a while from outside, as by Ctrl-Z."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gs3d.core.runtime.clock import STATISTICS
from tests.runs.running import SPLATS, generate, log_rows, request_for

MINUTES, STOPPED_S = 0.2, 6.0


def main(prior: str, folder: str) -> None:
    """The process that is stopped. It says "begun" in the middle of a run in minutes."""
    from gs3d.runs.outputs import export_time
    from tests.small import use_small_files

    use_small_files()
    export_time.FIXED_S, export_time.TURNTABLE_FRAMES = 0.5, 4
    # The minutes of the second run hold no imports, and the kernels are compiled.
    generate(request_for(Path(prior), Path(folder) / "first", SPLATS, steps=1))
    lines: list[str] = []

    def report(entry, budget) -> None:
        if entry.step == 10:
            print("begun", flush=True)

    request = request_for(Path(prior), Path(folder), SPLATS, steps=1)
    request = dataclasses.replace(request, steps=None, minutes=MINUTES)
    began = time.monotonic()
    result = generate(request, report=report, say=lines.append)
    wall_s = time.monotonic() - began
    print(json.dumps({"wall_s": wall_s, "seconds": result.seconds, "lines": lines}))


@pytest.mark.skipif(
    not STATISTICS.exists(), reason="the system does not count how long threads wait"
)
def test_minutes_do_not_count_while_the_process_is_stopped(tiny_builtin_folder, tmp_path):
    command = [sys.executable, "-m", "tests.runs.test_pauses", tiny_builtin_folder, tmp_path]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "begun":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGSTOP)
        began = time.monotonic()
        time.sleep(STOPPED_S)
        stopped_s = time.monotonic() - began
        os.kill(process.pid, signal.SIGCONT)
        ended = json.loads(process.stdout.read().splitlines()[-1])
    timings = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["timings_s"]
    for seconds in (ended["seconds"], sum(timings.values())):
        assert ended["wall_s"] - seconds > stopped_s - 1.5
    progress = [row["progress"] for row in log_rows(tmp_path / "run")]
    largest = max(b - a for a, b in zip(progress, progress[1:], strict=False))
    assert largest * 60 * MINUTES < stopped_s / 2
    said = [line for line in ended["lines"] if line.startswith("paused for")]
    assert len(said) == 1 and said[0].endswith("s, which does not count")


if __name__ == "__main__":
    main(*sys.argv[1:])
