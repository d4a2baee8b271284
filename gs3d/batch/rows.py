"""The rows of a batch, from a list as text, CSV or JSON lines."""

import csv
import hashlib
import io
import json
from collections import Counter
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
    names: dict[str, int] = {}
    for line, values in reader(path, _text(path)):
        where = f"{path} line {line}"
        row = _row(values, where)
        what = tuple(getattr(row, name) for name in COLUMNS if name != "name")
        if (before := lines.setdefault(what, line)) != line:
            raise UserError(f"{where}: the same as line {before}; remove it, or give another seed")
        # File systems of some machines do not tell upper from lower case.
        if row.name and (before := names.setdefault(row.name.lower(), line)) != line:
            raise UserError(f"{where}: its name {row.name!r} is that of line {before}")
        found.append(row)
        if len(found) > MOST_ROWS:
            raise UserError(f"{path}: more than {MOST_ROWS} rows; split the list")
    if not found:
        raise UserError(f"{path}: contains no row; expected a prompt per line, {EXAMPLE}")
    return _named(found)


def _named(rows: list[Row]) -> list[Row]:
    """The rows with names for those that have none: prompt and seed, and digits of a hash where
    that is not enough."""
    taken = {row.name.lower() for row in rows if row.name}
    plain = [f"{slug(row.prompt)}-s{row.seed}" for row in rows]
    many = Counter(plain)
    found: list[Row] = []
    for row, name in zip(rows, plain, strict=True):
        if not row.name and (many[name] > 1 or name.lower() in taken):
            values = json.dumps([getattr(row, column) for column in COLUMNS])
            name = f"{name}-{hashlib.sha256(values.encode()).hexdigest()[:6]}"
        found.append(row if row.name else replace(row, name=name))
    return found


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
    if (seed := _number(seed, int)) is None:
        raise UserError(f"{where}: seed: expected a whole number, got {shown(values['seed'])!r}")
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
    name = given.pop("name", "")
    return Row(prompt, slug(name) if name else "", seed, minutes, **given)


def _number(value: Any, kind: type) -> Any:
    """A number from a cell, which is text in CSV; None if it is no such number."""
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        return None
    try:
        return kind(value)
    except (TypeError, ValueError):
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
