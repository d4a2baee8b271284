"""Scene files: YAML that lists objects with their places.

    objects:
      - file: outputs/a-green-table-s0     # a run's folder or a splat file
        size: 0.8                          # radius in world units; 1 if left out
      - file: ball.ply
        size: 0.25
        stands_on: a-green-table-s0        # on the object with this name
        position: [0.2, 0, 0]              # of its center, here from that of the table
        turn_deg: 30                       # to the left, about the vertical axis

Files are found from where the scene file is. The name of an object is that of its file without
suffix, unless `name` gives another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, did_you_mean
from gs3d.io import FORMATS, suffix_of
from gs3d.io.atomic import read_error
from gs3d.io.plain_yaml import load_yaml

MOST_OBJECTS = 100
FARTHEST, LARGEST = 1000.0, 1e6
"""Largest distance from the origin and largest size, in world units, which are surely meant; and
largest number."""


@dataclass(frozen=True)
class Entry:
    """An object of a scene file."""

    file: Path
    name: str
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the center, in world units; with `stands_on`, from the middle of that object, on whose
    top there the object stands."""
    size: float = 1.0
    """Radius in world units."""
    turn_deg: float = 0.0
    """Turn to the left about the vertical axis, in degrees."""
    stands_on: str | None = None
    """Name of an earlier object."""
    own_frame: bool = False
    """Keep the coordinates of the file: `size` is a factor, and `position` that of its origin."""


KEYS = ("file", "name", "position", "size", "turn_deg", "stands_on", "own_frame")


def read_scene(path: Path) -> list[Entry]:
    """Read a scene file.

    Raises:
        UserError: The file cannot be read, or an entry is invalid. The message names it.
    """
    try:
        content = load_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise read_error(path, error) from None
    except ValueError as error:  # also bytes that are not UTF-8
        raise UserError(f"{path}: {error}") from None
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, list) or not objects or len(content) > 1:
        raise UserError(f"{path}: expected `objects:` with a list of objects, and nothing else")
    if len(objects) > MOST_OBJECTS:
        raise UserError(
            f"{path}: expected at most {MOST_OBJECTS} objects, got {len(objects)}; compose some "
            "first, and then their files"
        )
    entries: list[Entry] = []
    for number, fields in enumerate(objects, 1):
        entries.append(_entry(f"{path}: object {number}", fields, path.parent, entries))
    return entries


def _entry(where: str, fields: Any, folder: Path, before: Sequence[Entry]) -> Entry:
    if not isinstance(fields, dict) or not isinstance(fields.get("file"), str):
        raise UserError(f"{where}: expected `file:` with the name of a splat file or a run")
    if unknown := [key for key in fields if key not in KEYS]:
        near = did_you_mean(str(unknown[0]), KEYS)
        raise UserError(f"{where}: expected {', '.join(KEYS)}, got {unknown[0]!r}{near}")
    file = folder / fields["file"]
    name = fields.get("name", _name_of(fields["file"]))
    if not isinstance(name, str) or not name or name in [entry.name for entry in before]:
        raise UserError(f"{where}: expected a `name:` of its own, got {name!r}")
    position = fields.get("position", [0, 0, 0])
    if not isinstance(position, list) or len(position) != 3 or not all(map(_is_near, position)):
        raise UserError(
            f"{where}: position: expected three numbers from −{FARTHEST:g} to {FARTHEST:g}, got "
            f"{position!r}"
        )
    size, turn = fields.get("size", 1.0), fields.get("turn_deg", 0.0)
    if not _is_near(size) or size <= 0:
        raise UserError(
            f"{where}: size: expected a number above 0, at most {FARTHEST:g}, got {size!r}"
        )
    if not _is_number(turn):
        raise UserError(f"{where}: turn_deg: expected a number, got {turn!r}")
    # Not `on`, which is a truth value in YAML.
    stands_on = fields.get("stands_on")
    if stands_on is not None and stands_on not in [entry.name for entry in before]:
        names = ", ".join(entry.name for entry in before) or "none"
        raise UserError(
            f"{where}: stands_on: expected an earlier object ({names}), got {stands_on!r}"
        )
    own_frame = fields.get("own_frame", False)
    if not isinstance(own_frame, bool):
        raise UserError(f"{where}: own_frame: expected true or false, got {own_frame!r}")
    x, y, z = map(float, position)
    return Entry(file, name, (x, y, z), float(size), float(turn), stands_on, own_frame)


def _name_of(file: str) -> str:
    """The name of a file without the suffix of a format, or of a folder."""
    suffix = suffix_of(file, FORMATS)
    return Path(file).name[: -len(suffix)] if suffix else Path(file).name


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LARGEST


def _is_near(value: Any) -> bool:
    return _is_number(value) and abs(value) <= FARTHEST
