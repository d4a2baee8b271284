"""The rows of a batch, from a list as text, CSV or JSON lines."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from gs3d.core.errors import UserError, did_you_mean, shown
from gs3d.priors.prompts import check_prompt
from gs3d.runs.folders import slug
from gs3d.runs.request import Mode, check_budget

MOST_ROWS = 20_000
"""More of them make the index, the gallery and one folder with all runs slow."""
LARGEST_SEED = 2**63 - 1
MOST_TOLD = 5
"""Lines that an error names."""
RESERVED = ("workers",)
"""Names of other folders in that of a batch."""
EXAMPLE = 'such as "a red mushroom with white spots"'


@dataclass(frozen=True)
class Row:
    """One run of a batch. What is None is that of the whole batch."""

    prompt: str
    name: str
    """Its folder in that of the batch."""
    seed: int = 0
    minutes: float | None = None
    mode: Mode | None = None
    prior: str | None = None
    config: str | None = None


COLUMNS = tuple(field.name for field in fields(Row))


def read_rows(path: Path) -> list[Row]:
    """Read a list: .txt with a prompt per line (blank lines and lines from # are skipped), .csv
    with a header, or .jsonl with an object per line. Columns are the fields of `Row`; all but the
    prompt may be left out or empty.

    Raises:
        UserError: The list cannot be read, is empty or too long, or a row is not valid; the message
            names its line.
    """
    readers = {".txt": _of_text, ".csv": _of_csv, ".jsonl": _of_json_lines}
    if (reader := readers.get(path.suffix.lower())) is None:
        raise UserError(f"{path}: expected a list as .txt, .csv or .jsonl")
    found: list[Row] = []
    lines: dict[tuple[object, ...], int] = {}
    same: list[tuple[int, int]] = []
    names: dict[str, int] = {}
    for line, values in reader(path, _text(path)):
        where = f"{path} line {line}"
        row = _row(values, where)
        what = tuple(getattr(row, name) for name in COLUMNS if name not in ("name", "minutes"))
        if (before := lines.setdefault(what, line)) != line:
            same.append((line, before))
            continue
        row = replace(row, name=row.name or _name_of(row))
        # File systems of some machines do not tell upper from lower case.
        if (before := names.setdefault(row.name.lower(), line)) != line:
            raise UserError(f"{where}: its name {row.name!r} is that of line {before}")
        found.append(row)
        if len(found) > MOST_ROWS:
            raise UserError(f"{path}: more than {MOST_ROWS} rows; split the list")
    if same:
        raise UserError(
            f"{path} {_about_same(same)}; remove the later ones, or give other seeds in a .csv"
        )
    if not found:
        raise UserError(f"{path}: contains no row; expected a prompt per line, {EXAMPLE}")
    return found


def _about_same(same: list[tuple[int, int]]) -> str:
    """Which lines say what an earlier one says."""
    told = ", ".join(
        f"line {line} is the same as line {before}" for line, before in same[:MOST_TOLD]
    )
    return told + (f", and {len(same) - MOST_TOLD} more" if len(same) > MOST_TOLD else "")


def _name_of(row: Row) -> str:
    """The name of a row that has none: prompt and seed, and digits of a hash where another row may
    have the same. It depends on this row alone, so that a longer list changes no name. Minutes are
    no part of it: with more of them a row goes on."""
    parts = {"prompt": row.prompt, "mode": row.mode, "prior": row.prior, "config": row.config}
    name, others = f"{slug(row.prompt)}-s{row.seed}", [v for v in parts.values() if v is not None]
    if slug(row.prompt) == row.prompt.replace(" ", "-") and len(others) == 1:
        return name
    text = json.dumps({key: value for key, value in parts.items() if value is not None})
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _row(values: dict[str, Any], where: str) -> Row:
    """The row in the cells of a line, whose name is "" if it has none."""
    for column in values:
        if column not in COLUMNS:
            raise UserError(
                f"{where}: unknown column {shown(column)!r}; expected {', '.join(COLUMNS)}"
                f"{did_you_mean(column, COLUMNS)}"
            )
    given = {name: value for name, value in values.items() if value not in (None, "")}
    prompt = check_prompt(given.pop("prompt", ""), f"{where}: prompt")
    seed, minutes = given.pop("seed", 0), given.pop("minutes", None)
    if (seed := _number(seed, int)) is None or abs(seed) > LARGEST_SEED:
        got = shown(values["seed"])
        raise UserError(f"{where}: seed: expected a whole number below 2**63, got {got!r}")
    if minutes is not None:
        if (minutes := _number(minutes, float)) is None:
            got = shown(values["minutes"])
            raise UserError(f"{where}: minutes: expected a number above 0, got {got!r}")
        try:
            check_budget(minutes, None)
        except UserError as error:
            raise UserError(f"{where}: {error.for_command_line}") from None
    for name, value in given.items():
        if not isinstance(value, str):
            raise UserError(f"{where}: {name}: expected text, got {shown(value)!r}")
    if (mode := given.get("mode")) is not None and mode not in get_args(Mode):
        modes = " or ".join(get_args(Mode))
        raise UserError(f"{where}: mode: expected {modes}, got {shown(mode)!r}")
    name = slug(given.pop("name")) if "name" in given else ""
    if name in RESERVED:
        raise UserError(f"{where}: name: {name!r} is that of a folder of the batch; choose another")
    return Row(prompt, name, seed, minutes, **given)


def _number(value: Any, kind: type) -> Any:
    """A number from a cell, which is text in CSV; None if it is no such number."""
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        return None
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _of_text(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"prompt": line}


def _of_csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if "prompt" not in header:
            near = did_you_mean("prompt", header).replace("did you mean", "is that")
            raise UserError(f"{path} line 1: expected a header with the column prompt{near}")
        if len(set(header)) < len(header):
            raise UserError(f"{path} line 1: a column is there twice")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise UserError(
                    f"{path} line {reader.line_num}: {len(cells)} cells, and the header has "
                    f"{len(header)}; put a prompt with a comma in quotes"
                )
            values = [cell.strip() for cell in cells]
            yield reader.line_num, dict(zip(header, values, strict=False))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: not CSV ({error})") from None


def _of_json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(
                f"{path} line {number}: not JSON; expected an object per line"
            ) from None
        if not isinstance(values, dict):
            raise UserError(f"{path} line {number}: expected an object, got {shown(values)!r}")
        yield number, values


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")  # some editors start a file with a byte order mark
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
