"""Summarize the results of scripts/gpu_check.sh as check.json and check.md, and print check.md.

`python benchmarks/summary.py DIRECTORY` has exit status 1 if a part failed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import machine

TABLES = {
    "gpu": "Iteration and its parts",
    "scaling": "Scaling of an iteration",
    "repeat": "Reproducibility of runs",
}
"""Name of the .json and .md files of a benchmark → title of its table."""


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


def method_table(folder: Path) -> str:
    """Return the table of methods that the evaluation printed."""
    lines = text(folder / "quality.txt").splitlines()
    begin = next((i for i, line in enumerate(lines) if line.startswith("| method")), len(lines))
    end = next(
        (i for i, line in enumerate(lines[begin:], begin) if not line.startswith("|")), len(lines)
    )
    return "\n".join(lines[begin:end])


def main(args: Args) -> None:
    folder = args.folder
    statuses = {
        name: int(status)
        for name, status in (line.split() for line in text(folder / "parts.txt").splitlines())
    }
    rows = ["| part | status | last line of output |", "|---|---|---|"]
    rows += [
        f"| {name} | {'failed' if status else 'ok'} | {last_line(folder, name)} |"
        for name, status in statuses.items()
    ]
    sections = ["\n".join(rows)]
    sections += [
        f"## {title}\n\n{text(folder / f'{name}.md') or 'missing'}"
        for name, title in TABLES.items()
    ]
    quality = method_table(folder)
    sections.append(f"## Grades of one-minute runs\n\n{quality or 'missing'}")
    data = {name: json.loads(text(folder / f"{name}.json") or "null") for name in TABLES}
    check = machine() | {"ended": statuses, **data, "quality": quality}
    (folder / "check.json").write_text(json.dumps(check, indent=2) + "\n")
    (folder / "check.md").write_text("\n\n".join(sections) + "\n")
    print("\n\n".join(sections))
    raise SystemExit(int(not statuses or any(statuses.values())))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
