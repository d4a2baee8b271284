"""Arguments of a command through tyro, with usage errors as one line like every other fault."""

import contextlib
import difflib
import io
import math
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from gs3d.cli.output import fault, shown

T = TypeVar("T")
WANTED = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def parse(args: type[T], prog: str, argv: list[str]) -> T:
    """The command's `args` filled from `argv`. A usage error is one line on stderr and exit status 2; --help goes to stdout.

    tyro decides whether `argv` is good. Its own words are a framed text of several lines, so what is wrong is looked up again here.
    """
    words = io.StringIO()
    try:
        with contextlib.redirect_stderr(words), shown():
            return tyro.cli(args, prog=prog, args=argv)
        raise SystemExit(0)  # --help, whose reader left
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
    wrong = next(usage_faults(args, argv), None) or condense(words.getvalue(), prog)
    fault(f"{prog}: {wrong}; see {prog} --help")
    raise SystemExit(2)


def usage_faults(args: type, argv: list[str]) -> Iterator[str]:
    """What is wrong with `argv`, as "<what>: expected ..., got ...", for the flat dataclasses of plain types that commands have."""
    options, required, most = _split(args)
    given: list[str] = []
    rest = iter(enumerate(argv))
    for at, token in rest:
        if not _is_option(token):
            given.append(token)
            continue
        flag, equals, value = token.partition("=")
        flag = flag.replace("_", "-")
        if flag not in options:
            near = difflib.get_close_matches(flag, options, 1)
            yield f"unknown option: expected {f'{near[0]} or another' if near else 'one'} of this command, got {flag}"
            continue
        kind = options[flag]
        if kind is bool:
            if equals:
                yield f"{flag}: expected no value, got {value!r}"
            continue
        kind, count = _values_of(kind)
        values = [value] if equals else []
        following = argv[at + 1 : None if count is None else at + 1 + count]
        while (
            not equals and len(values) < len(following) and not _is_option(following[len(values)])
        ):
            values.append(next(rest)[1])
        if not values:
            yield f"{flag}: expected {_wanted(kind)}, got nothing"
        for value in values:
            if not _fits(kind, value):
                yield f"{flag}: expected {_wanted(kind)}, got {value!r}"
        if count is not None and 0 < len(values) < count:
            yield f"{flag}: expected {count} values, got {len(values)}"
    for name, kind in list(required.items())[len(given) :]:
        yield f"{name}: expected {_wanted(kind)}, got nothing"
    if len(given) > most:
        name = next(iter(required), "arguments")
        yield f"{name}: expected {'one, in quotes if it has spaces' if most else 'none'}, got {' '.join(given)!r}"


def condense(text: str, prog: str) -> str:
    """tyro's framed message as one line: without colors, frames and its own pointers to --help."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [
        re.sub(r"[\u2500-\u257f]+", " ", line).strip()
        for line in text.splitlines()
        if "╭" not in line
    ]
    kept = [
        line
        for line in lines
        if line and not line.startswith("For full helptext") and line != f"{prog} --help"
    ]
    return " ".join(kept) or "expected other arguments, got these"


def _split(args: type) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Types by option (with its aliases) and by required positional argument, as the user writes them; and how many positional ones fit."""
    hints = get_type_hints(args, include_extras=True)
    options: dict[str, Any] = {"--help": bool, "-h": bool}
    required, most = {}, 0
    for f in fields(args):
        kind, *notes = (
            get_args(hints[f.name]) if hasattr(hints[f.name], "__metadata__") else (hints[f.name],)
        )
        if tyro.conf.Positional in notes:
            kind, count = _values_of(kind)
            most = math.inf if count is None else most + count
            required |= {f.name.upper(): kind} if f.default is MISSING else {}
            continue
        name = next((note.name for note in notes if getattr(note, "name", None)), f.name).replace(
            "_", "-"
        )
        aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
        options |= dict.fromkeys([f"--{name}", *aliases], kind)
        if kind is bool:
            options[f"--no-{name}"] = bool
    return options, required, most


def _values_of(kind: Any) -> tuple[Any, int | None]:
    """The type of one value of an option, and how many it takes: None if that is left open."""
    if get_origin(kind) is not tuple:
        return kind, 1
    members = get_args(kind)
    return members[0], None if members[-1] is Ellipsis else len(members)


def _is_option(token: str) -> bool:
    """Whether a token is an option rather than a value: -3 and a lone - are values."""
    return re.match(r"-[^\d.]", token) is not None


def _choices(kind: Any) -> list[Any]:
    """The members of `X | None` without None, and of a Literal its values."""
    if get_origin(kind) in (Union, types.UnionType):
        return [
            choice
            for member in get_args(kind)
            if member is not type(None)
            for choice in _choices(member)
        ]
    return list(get_args(kind)) if get_origin(kind) is Literal else [kind]


def _wanted(kind: Any) -> str:
    return " or ".join(WANTED.get(choice, str(choice)) for choice in _choices(kind))


def _fits(kind: Any, value: str) -> bool:
    def fits(choice: Any) -> bool:
        if choice not in (int, float):
            return choice == value or choice in (str, Path)
        try:
            choice(value)
        except ValueError:
            return False
        return True

    return any(fits(choice) for choice in _choices(kind)) or (
        value == "None" and type(None) in get_args(kind)
    )
