"""`python benchmarks/summary.py FOLDER`: what scripts/gpu_check.sh has left there as one check.json and one check.md, which it prints.

What is missing because its part failed is missing there too, and named.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import machine

PARTS = {"gpu": "an iteration and its parts", "scaling": "how it grows", "repeat": "how much runs repeat"}
"""Files .json and .md of benchmarks → what their tables are about."""
LINES = {"tests.txt": "tests", "doctor.txt": "doctor"}
"""Files whose last line says how it went."""


@dataclass(frozen=True)
class Args:
    folder: tyro.conf.Positional[Path]


def last_line(path: Path) -> str | None:
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    return next((line.strip(" =") for line in reversed(lines) if line.strip()), None)


def quality(folder: Path) -> str | None:
    """The rows of an evaluation's table, as it printed them."""
    said = (folder / "quality.txt").read_text("utf-8").splitlines() if (folder / "quality.txt").exists() else []
    tables = [i for i, line in enumerate(said) if line.startswith("| method")]
    rows = said[tables[0] :] if tables else []
    return "\n".join(line for line in rows[: next((i for i, line in enumerate(rows) if not line.startswith("|")), len(rows))]) or None


def main(args: Args) -> None:
    made = machine() | {name.removesuffix(".txt"): last_line(args.folder / name) for name in LINES}
    tables = [f"{what}: {made[name.removesuffix('.txt')] or 'missing'}" for name, what in LINES.items()]
    for name, what in PARTS.items():
        data, table = args.folder / f"{name}.json", args.folder / f"{name}.md"
        made[name] = json.loads(data.read_text()) if data.exists() else None
        tables.append(f"## {what}\n\n{table.read_text('utf-8').strip() if table.exists() else 'missing'}")
    marks = quality(args.folder)
    tables.append(f"## a minute a run, graded\n\n{marks or 'missing'}")
    (args.folder / "check.json").write_text(json.dumps(made | {"quality": marks}, indent=2) + "\n")
    (args.folder / "check.md").write_text("\n\n".join(tables) + "\n")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main(tyro.cli(Args))
