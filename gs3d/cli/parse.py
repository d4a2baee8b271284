"""Parses the arguments of a command with tyro. Usage errors become one line, like other errors."""

import contextlib
import difflib
import io
import math
import os
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from gs3d.cli.help import current_names, split_hint, with_help
from gs3d.cli.output import fault, shown
from gs3d.core.errors import TYPE_WORDS, UserError, did_you_mean, take_smaller

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
TEXTS = ("prompt",)
"""Arguments that are no paths, in which ~ stays."""


def parse(args: type[T], prog: str, argv: list[str]) -> T:
    """Fill the dataclass `args` from `argv`.

    A usage error prints one line on standard error and exits with status 2. `--help` prints to
    standard output and exits with status 0.

    tyro decides whether `argv` is valid. Its error messages are framed texts of several lines, so
    `usage_faults` finds the error again to report it in one line.
    """
    argv = current_names(args, argv)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), shown():
            parsed = tyro.cli(with_help(args), prog=prog, args=argv)
            values = {f.name: getattr(parsed, f.name) for f in fields(args)}
            # An empty path, as of a variable that is not set, would be the working directory.
            has_empty = any(token == "" or token.endswith("=") for token in argv)
            if has_empty and any(usage_faults(args, argv)):
                raise SystemExit(2)
            return args(**{n: v if n in TEXTS else _expanded(v) for n, v in values.items()})
        # Reached if `shown` suppressed an error: the reader of --help closed the pipe.
        raise SystemExit(0)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
    wrong = next(usage_faults(args, argv), None) or condense(errors.getvalue(), prog)
    fault(f"{prog}: {wrong}{' See' if wrong.endswith('?') else '; see'} {prog} --help")
    raise SystemExit(2)


def collect(argv: list[str], flag: str, expected: str = "KEY.PATH=VALUE") -> list[str]:
    """`argv` with all values of a repeated flag behind one flag: argparse keeps only the last."""
    kept, values = [], []
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name != flag:
            kept.append(name + equals + value)
        elif equals:
            values.append(value)
        elif rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        else:
            raise UserError(f"{flag}: expected {expected}, got nothing")
    return kept + [flag, *values] if values else kept


def _expanded(value: Any) -> Any:
    """A path, or several, with ~ replaced by the home folder, as a shell does it except after =."""
    if isinstance(value, tuple):
        return tuple(map(_expanded, value))
    if isinstance(value, (str, Path)) and str(value).startswith("~"):
        return type(value)(os.path.expanduser(value))
    return value


def usage_faults(args: type, argv: list[str]) -> Iterator[str]:
    """Errors in `argv`, each as "<what>: expected ..., got ...".

    Supports the dataclasses of the commands: flat, with plain types.
    """
    options, required, max_positional = _split(args)
    given: list[str] = []
    rest = iter(enumerate(argv))
    for at, token in rest:
        if not _is_option(token):
            given.append(token)
            continue
        flag, equals, value = token.partition("=")
        flag = flag.replace("_", "-")
        if flag not in options:
            nearest = difflib.get_close_matches(flag, options, 1)
            expected = f"{nearest[0]} or another" if nearest else "one"
            yield f"unknown option: expected {expected} of this command, got {flag}"
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
            yield f"{flag}: expected {_expected(kind)}, got nothing"
        for value in values:
            if not _fits(kind, value):
                choices = _choices(kind)
                near = did_you_mean(value, [c for c in choices if isinstance(c, str)])
                near = near or take_smaller(value, choices)
                yield f"{flag}: expected {_expected(kind)}, got {value!r}{near}"
        if count is not None and 0 < len(values) < count:
            yield f"{flag}: expected {count} values, got {len(values)}"
    for name, kind in list(required.items())[len(given) :]:
        yield f"{name}: expected {_expected(kind)}, got nothing"
    if len(given) > max_positional:
        name = next(iter(required), "arguments")
        expected = "one, in quotes if it has spaces" if max_positional else "none"
        yield f"{name}: expected {expected}, got {' '.join(given)!r}"


def condense(text: str, prog: str) -> str:
    """An error message of tyro as one line, without colors, frames and references to --help."""
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
    """The types of options by flag, the types of required positional arguments by their names in
    capitals, and the largest number of positional arguments."""
    hints = get_type_hints(args, include_extras=True)
    options: dict[str, Any] = {"--help": bool, "-h": bool}
    required, max_positional = {}, 0
    for f in fields(args):
        kind, notes = split_hint(hints[f.name])
        if tyro.conf.Positional in notes:
            kind, count = _values_of(kind)
            max_positional = math.inf if count is None else max_positional + count
            shown_as = (note.metavar for note in notes if getattr(note, "metavar", None))
            name = next(shown_as, f.name.upper())
            required |= {name: kind} if f.default is MISSING else {}
            continue
        renamed = (note.name for note in notes if getattr(note, "name", None))
        name = next(renamed, f.name).replace("_", "-")
        aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
        options |= dict.fromkeys([f"--{name}", *aliases], kind)
        if kind is bool:
            options[f"--no-{name}"] = bool
    return options, required, max_positional


def _values_of(kind: Any) -> tuple[Any, int | None]:
    """The type of one value of an option, and the number of values; None if any number fits."""
    if get_origin(kind) is not tuple:
        return kind, 1
    members = get_args(kind)
    return members[0], None if members[-1] is Ellipsis else len(members)


def _is_option(token: str) -> bool:
    """Whether a token is an option rather than a value: -3 and a lone - are values."""
    return re.match(r"-[^\d.]", token) is not None


def _choices(kind: Any) -> list[Any]:
    """The members of `X | None` without None, and the values of a Literal."""
    if get_origin(kind) in (Union, types.UnionType):
        return [
            choice
            for member in get_args(kind)
            if member is not type(None)
            for choice in _choices(member)
        ]
    return list(get_args(kind)) if get_origin(kind) is Literal else [kind]


def _expected(kind: Any) -> str:
    return " or ".join(TYPE_WORDS.get(choice, str(choice)) for choice in _choices(kind))


def _fits(kind: Any, value: str) -> bool:
    def fits(choice: Any) -> bool:
        if choice not in (int, float):
            return str(choice) == value or choice is str or (choice is Path and value != "")
        try:
            choice(value)
        except ValueError:
            return False
        return True

    return any(fits(choice) for choice in _choices(kind)) or (
        value == "None" and type(None) in get_args(kind)
    )
