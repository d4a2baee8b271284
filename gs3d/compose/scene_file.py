"""Scene files: YAML that lists objects with their places.

    prompt: a red ball on a green table    # of the whole, for objects that are generated
    objects:
      - file: outputs/a-green-table-s0     # a run's folder or a splat file
        size: 0.8                          # radius in world units; 1 if left out
      - prompt: a red ball                 # generated, if it is not there yet
        size: 0.25
        stands_on: a-green-table-s0        # on the object with this name; or beside it, and so on
        position: [0.2, 0, 0]              # of its center, here from that of the table
        turn_deg: 30                       # to the left, about the vertical axis

Files are found from where the scene file is. The name of an object is that of its file without
suffix, or its prompt as a folder's name, unless `name` gives another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, did_you_mean
from gs3d.io import FORMATS, suffix_of
from gs3d.io.atomic import read_error
from gs3d.io.plain_yaml import load_yaml
from gs3d.priors.prompts import check_prompt
from gs3d.runs.folders import slug

MOST_OBJECTS = 100
FARTHEST, LARGEST = 1000.0, 1e6
"""Largest distance from the origin and largest size, in world units, which are surely meant; and
largest number."""
RESERVED = "together"
"""Begins the names of the folders in which all objects are optimized together."""
RELATIONS = ("stands_on", "beside", "in_front_of", "behind")
"""Where an object is relative to an earlier one: on its top, or on its ground to its left, before
or behind it. `together` puts it there."""


@dataclass(frozen=True)
class Entry:
    """An object of a scene file."""

    name: str
    file: Path | None = None
    """A run's folder or a splat file; None for an object that is generated."""
    prompt: str | None = None
    """What is generated; None for a file."""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the center, in world units; with a relation, from where that puts it."""
    size: float = 1.0
    """Radius in world units."""
    turn_deg: float = 0.0
    """Turn to the left about the vertical axis, in degrees."""
    relation: str | None = None
    """One of `RELATIONS`."""
    other: str | None = None
    """Name of the earlier object of the relation."""
    own_frame: bool = False
    """Keep the coordinates of the file: `size` is a factor, and `position` that of its origin."""


@dataclass(frozen=True)
class SceneFile:
    """What a scene file holds."""

    entries: tuple[Entry, ...]
    prompt: str | None = None
    """Of the whole; None if objects are not optimized together."""


KEYS = ("file", "prompt", "name", "position", "size", "turn_deg", *RELATIONS, "own_frame")


def read_scene(path: Path) -> SceneFile:
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
    if not isinstance(objects, list) or not objects or set(content) - {"objects", "prompt"}:
        raise UserError(
            f"{path}: expected `objects:` with a list of objects, and nothing else but `prompt:`"
        )
    if len(objects) > MOST_OBJECTS:
        raise UserError(
            f"{path}: expected at most {MOST_OBJECTS} objects, got {len(objects)}; compose some "
            "first, and then their files"
        )
    prompt = content.get("prompt")
    if prompt is not None:
        prompt = _prompt(str(path), prompt)
    entries: list[Entry] = []
    for number, fields in enumerate(objects, 1):
        entries.append(_entry(f"{path}: object {number}", fields, path.parent, entries))
    return SceneFile(tuple(entries), prompt)


def _entry(where: str, fields: Any, folder: Path, before: Sequence[Entry]) -> Entry:
    given = [key for key in ("file", "prompt") if isinstance(fields, dict) and key in fields]
    if len(given) != 1 or not isinstance(fields[given[0]], str):
        raise UserError(
            f"{where}: expected `file:` with the name of a splat file or a run, or `prompt:`"
        )
    if unknown := [key for key in fields if key not in KEYS]:
        near = did_you_mean(str(unknown[0]), KEYS)
        raise UserError(f"{where}: expected {', '.join(KEYS)}, got {unknown[0]!r}{near}")
    prompt = _prompt(where, fields["prompt"]) if "prompt" in fields else None
    file = folder / fields["file"] if prompt is None else None
    usual = slug(prompt) if prompt is not None else _name_of(fields["file"])
    name = fields.get("name", usual)
    if not isinstance(name, str) or not name or name in [entry.name for entry in before]:
        raise UserError(f"{where}: expected a `name:` of its own, got {name!r}")
    if prompt is not None and (name != slug(name) or name.startswith(RESERVED)):
        raise UserError(
            f"{where}: name: becomes a folder: expected lower-case letters, digits and hyphens, "
            f"and no {RESERVED!r} at the beginning, got {name!r}"
        )
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
    own_frame = fields.get("own_frame", False)
    if not isinstance(own_frame, bool):
        raise UserError(f"{where}: own_frame: expected true or false, got {own_frame!r}")
    if own_frame and prompt is not None:
        raise UserError(f"{where}: own_frame: is for files, not for what is generated")
    relation, other = _relation(where, fields, [entry.name for entry in before])
    x, y, z = map(float, position)
    return Entry(
        name, file, prompt, (x, y, z), float(size), float(turn), relation, other, own_frame
    )


def _relation(where: str, fields: dict, before: Sequence[str]) -> tuple[str | None, str | None]:
    # Not `on`, which is a truth value in YAML.
    given = [key for key in RELATIONS if fields.get(key) is not None]
    if not given:
        return None, None
    if len(given) > 1:
        raise UserError(f"{where}: expected one of {', '.join(RELATIONS)}, got {len(given)}")
    if (other := fields[given[0]]) not in before:
        names = ", ".join(before) or "none"
        raise UserError(f"{where}: {given[0]}: expected an earlier object ({names}), got {other!r}")
    return given[0], other


def _prompt(where: str, text: Any) -> str:
    if not isinstance(text, str):
        raise UserError(f"{where}: prompt: expected a text, got {text!r}")
    try:
        return check_prompt(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _name_of(file: str) -> str:
    """The name of a file without the suffix of a format, or of a folder."""
    suffix = suffix_of(file, FORMATS)
    return Path(file).name[: -len(suffix)] if suffix else Path(file).name


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= LARGEST


def _is_near(value: Any) -> bool:
    return _is_number(value) and abs(value) <= FARTHEST
