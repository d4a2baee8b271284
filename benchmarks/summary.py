"""Summarize the results of scripts/gpu_check.sh as check.json and check.md, and print check.md.

`python benchmarks/summary.py DIRECTORY` has exit status 1 if a part failed. A part for which no
time was left did not fail.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import machine

NO_TIME = 124
"""Exit status of a part that the time budget ended, or left out."""
TABLES = {
    "gpu": "Iteration and its parts",
    "gpu-compiled": "The same with channels last, and compiled",
    "scaling": "Scaling of an iteration",
    "repeat": "Reproducibility of runs",
}
"""Name of the .json and .md files of a benchmark → title of its table."""
GRADES = {
    "stand-in": "Grades of two-minute runs of splats-15min with builtin-512",
    "quality": "Grades of one-minute runs",
}
"""Name of an evaluation -> title of its table."""


ENDED = {0: "ok", NO_TIME: "no time left"}
"""Exit status of a part that did not fail -> what the table says."""


@dataclass(frozen=True)
class Args:
    folder: tyro.conf.Positional[Path]
    """Output directory of scripts/gpu_check.sh."""


def text(path: Path) -> str:
    """Read a file; empty if it does not exist."""
    return path.read_text("utf-8").strip() if path.exists() else ""


def last_line(folder: Path, part: str) -> str:
    """Return the last line of a part's output; of doctor, the checks that failed."""
    lines = [line.strip(" =") for line in text(folder / f"{part}.txt").splitlines() if line.strip()]
    if part == "doctor":
        failures = "; ".join(line for line in lines if line.startswith("FAIL"))
        return failures or "all checks passed"
    return lines[-1].replace("|", "\\|") if lines else "no output"


def method_table(folder: Path, name: str) -> str:
    """Return the table of methods that the evaluation `name` printed."""
    lines = text(folder / f"{name}.txt").splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith("| method")), len(lines))
    end = next(
        (i for i, line in enumerate(lines[begin:], begin) if not line.startswith("|")), len(lines)
    )
    return "\n".join(lines[begin:end])


def main(args: Args) -> None:
    folder = args.folder
    parts = [line.split() for line in text(folder / "parts.txt").splitlines()]
    statuses = {name: int(status) for name, status, _ in parts}
    seconds = {name: int(took) for name, _, took in parts}
    rows = ["| part | status | s | last line of output |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {ENDED.get(status, 'failed')} | {seconds[name]} | {last_line(folder, name)} |"
        for name, status in statuses.items()
    ]
    sections = ["\n".join(rows)]
    sections += [
        f"## {title}\n\n{text(folder / f'{name}.md') or 'missing'}"
        for name, title in TABLES.items()
    ]
    grades = {name: method_table(folder, name) for name in GRADES}
    sections += [f"## {GRADES[name]}\n\n{table or 'missing'}" for name, table in grades.items()]
    data = {name: json.loads(text(folder / f"{name}.json") or "null") for name in TABLES}
    check = machine() | {"ended": statuses, "seconds": seconds, **data, **grades}
    (folder / "check.json").write_text(json.dumps(check, indent=2) + "\n")
    (folder / "check.md").write_text("\n\n".join(sections) + "\n")
    print("\n\n".join(sections))
    raise SystemExit(int(not statuses or any(s not in ENDED for s in statuses.values())))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
