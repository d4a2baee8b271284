"""`python benchmarks/summary.py FOLDER`: what scripts/gpu_check.sh has left there as one check.json and one check.md, which it prints.

Exit status 1 if one of its parts failed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import machine

TABLES = {
    "gpu": "an iteration and its parts",
    "scaling": "how it grows",
    "repeat": "how much runs repeat",
}
"""Names of .json and .md files of benchmarks → what their tables are about."""


@dataclass(frozen=True)
class Args:
    folder: tyro.conf.Positional[Path]


def text(path: Path) -> str:
    return path.read_text("utf-8").strip() if path.exists() else ""


def last_words(folder: Path, part: str) -> str:
    """Of doctor what is wrong, of the others the last line they said."""
    lines = [line.strip(" =") for line in text(folder / f"{part}.txt").splitlines() if line.strip()]
    if part == "doctor":
        return "; ".join(line for line in lines if line.startswith("FAIL")) or "nothing is wrong"
    return lines[-1].replace("|", "\\|") if lines else "no word"


def marks(folder: Path) -> str:
    """The rows of an evaluation's table, as it printed them."""
    said = text(folder / "quality.txt").splitlines()
    begin = next((i for i, line in enumerate(said) if line.startswith("| method")), len(said))
    end = next(
        (i for i, line in enumerate(said[begin:], begin) if not line.startswith("|")), len(said)
    )
    return "\n".join(said[begin:end])


def main(args: Args) -> None:
    folder = args.folder
    ended = {
        name: int(status)
        for name, status in (line.split() for line in text(folder / "parts.txt").splitlines())
    }
    rows = ["| part | | its last words |", "|---|---|---|"]
    rows += [
        f"| {name} | {'failed' if status else 'ok'} | {last_words(folder, name)} |"
        for name, status in ended.items()
    ]
    pieces = ["\n".join(rows)]
    pieces += [
        f"## {what}\n\n{text(folder / f'{name}.md') or 'missing'}" for name, what in TABLES.items()
    ]
    pieces.append(f"## a minute a run, graded\n\n{marks(folder) or 'missing'}")
    data = {name: json.loads(text(folder / f"{name}.json") or "null") for name in TABLES}
    (folder / "check.json").write_text(
        json.dumps(machine() | {"ended": ended, **data, "quality": marks(folder)}, indent=2) + "\n"
    )
    (folder / "check.md").write_text("\n\n".join(pieces) + "\n")
    print("\n\n".join(pieces))
    raise SystemExit(int(not ended or any(ended.values())))


if __name__ == "__main__":
    main(tyro.cli(Args))
