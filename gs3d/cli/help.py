"""Help texts and old names of options, for tyro."""

import dataclasses
import types
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro

from gs3d.core.docstrings import field_texts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def with_help(args: type[T]) -> type[T]:
    """A subclass of the dataclass `args` with the help texts that `--help` shows.

    They are the docstring of `args` and those below its fields. tyro would find these itself, but
    it keeps some line breaks, shows `X | None` as "{None}|X", and adds "(default: None)" although
    the text names the default. Old names of options are left out.
    """
    hints = get_type_hints(args, include_extras=True)
    texts = field_texts(args)
    annotations = {}
    for field in fields(args):
        kind, notes = split_hint(hints[field.name])
        shown = tyro.conf.arg(
            help=texts.get(field.name),
            metavar=_metavar(kind),
            help_behavior_hint=_default if field.default in (None, ()) else None,
        )
        # The notes of the field come last: tyro uses the last one that sets a value.
        notes = [shown, *map(_without_old_names, notes)]
        annotations[field.name] = Annotated[(kind, *notes)]
    description = " ".join((args.__doc__ or "").split())
    members = {"__annotations__": annotations, "__doc__": description}
    return cast("type[T]", type(args.__name__, (args,), members))


def split_hint(hint: Any) -> tuple[Any, list[Any]]:
    """The type in an annotation, and its notes for tyro."""
    return (
        (hint.__origin__, list(hint.__metadata__)) if hasattr(hint, "__metadata__") else (hint, [])
    )


def current_names(args: type, argv: Sequence[str]) -> list[str]:
    """`argv` with each old name of an option replaced by the current one."""
    new_names = {}
    for name, hint in get_type_hints(args, include_extras=True).items():
        for old in (old for note in split_hint(hint)[1] for old in _old_names(note)):
            flag = name.replace("_", "-")
            new_names |= {old: f"--{flag}", f"--no-{old[2:]}": f"--no-{flag}"}
    renamed = []
    for token in argv:
        flag, equals, value = token.partition("=")
        renamed.append(new_names.get(flag, flag) + equals + value)
    return renamed


def _old_names(note: Any) -> list[str]:
    """The long aliases of an option; short ones, such as -o, are not old."""
    aliases = getattr(note, "aliases", None) or ()
    return [alias for alias in aliases if alias.startswith("--")]


def _without_old_names(note: Any) -> Any:
    if not _old_names(note):
        return note
    aliases = tuple(alias for alias in note.aliases if alias not in _old_names(note))
    return dataclasses.replace(note, aliases=aliases or None)


def _metavar(kind: Any) -> str | None:
    """What stands for a value of type `X | None`; for other types None, which leaves it to tyro."""
    members = [member for member in get_args(kind) if member is not type(None)]
    if get_origin(kind) not in (Union, types.UnionType) or len(members) != 1:
        return None
    if get_origin(members[0]) is Literal:
        return f"{{{','.join(map(str, get_args(members[0])))}}}"
    return METAVARS.get(members[0])


def _default(label: str) -> str:
    return "" if label in ("None", "") else f"(default: {label})"
