"""Strict conversion of settings between nested dictionaries (YAML) and dataclasses."""

import dataclasses
import difflib
import inspect
import re
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal

from gs3d.core.errors import TYPE_WORDS, UserError
from gs3d.distill.contracts import check_guidance
from gs3d.distill.settings.old_names import rename_settings
from gs3d.guidance import GUIDANCE
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.loss_file import LossFile, load_loss_file


def build(kind: Any, value: Any, where: str) -> Any:
    """Convert a YAML `value` to `kind`: a dataclass, tuple, literal, optional or plain type.

    `where` is the place of the value, for error messages.

    Raises:
        UserError: A key is unknown, or a value has another type or is out of range.
    """
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(kind):
            return None
        return build(optional_of(kind), value, where)
    if origin is tuple:
        return _build_tuple(typing.get_args(kind), value, where)
    if origin is Literal:
        value = "gray" if value == "grey" else value
        if value not in typing.get_args(kind):
            choices = ", ".join(map(str, typing.get_args(kind)))
            raise UserError(f"{where}: expected one of {choices}, got {value!r}")
        return value
    # The bound excludes infinities, NaN, and integers that no float can hold.
    if kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    if kind not in TYPE_WORDS:
        raise UserError(f"{where}: a setting cannot have the type {kind.__name__}")
    raise UserError(f"{where}: expected {TYPE_WORDS[kind]}, got {value!r}{_as_number(kind, value)}")


def _as_number(kind: Any, value: Any) -> str:
    """The end of a message about a number without the period or sign that YAML 1.1 asks for."""
    match = re.fullmatch(r"([+-]?\d+)(\.\d*)?[eE]([+-]?\d+)", value) if type(value) is str else None
    if match is None or kind is not float:
        return ""
    return f", which YAML takes for text; write {match[1]}{match[2] or '.0'}e{int(match[3]):+d}"


def build_losses(value: Any, where: str, losses: Mapping[str, type] = GUIDANCE) -> dict[str, Any]:
    """Name -> loss for every entry of `losses`; `value` maps names to their settings.

    Raises:
        UserError: A name or setting is wrong, or a class in `losses` cannot hold settings.
    """
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise UserError(f"{where}: losses: expected settings as `key: value`, got {value!r}")
    for name in value:
        check_key(name, list(losses), f"{where}: losses")
    given = {name: {} if value.get(name) is None else value[name] for name in losses}
    for kind in losses.values():
        check_loss(kind)
    return {n: build(losses[n], given[n], f"{where}: losses.{n}") for n in losses}


TOGETHER = (("noise", "pairs"), ("t", "random_t", "narrow_t"))
"""Settings of `Distillation` that depend on each other."""


def with_usual(own: Any, usual: Mapping[str, Any], main: str, given: Collection[str]) -> Any:
    """A loss from a file with settings that the preset gives a loss of gs3d.

    That is the loss which its class extends, or, of what all have from `Distillation`, the loss
    `main`. Two losses then differ in their gradients, and not in times and guidance scale. What is
    `given` stays, as does what its class declares itself, and what depends on either (`TOGETHER`).

    Args:
        own: The loss as it was built from its own defaults and what is given.
        usual: Name -> loss, for those of gs3d.
        main: The name of the loss of the preset.
        given: Names of settings.
    """
    kinds = type(own).__mro__
    extended = next((name for kind in kinds for name in GUIDANCE if GUIDANCE[name] is kind), None)
    base = GUIDANCE[extended] if extended else Distillation
    source = usual[extended or main]
    if not (isinstance(own, base) and isinstance(source, base)):
        return own
    before = kinds[: kinds.index(base)]
    kept = {*given, *(name for kind in before for name in inspect.get_annotations(kind))}
    for group in TOGETHER:
        if kept.intersection(group):
            kept.update(group)
    names = [field.name for field in fields(base) if field.name not in kept]
    return dataclasses.replace(own, **{name: getattr(source, name) for name in names})


def own_loss(text: str, where: str = "--guidance") -> LossFile:
    """The loss in a file, as `load_loss_file`, with fields that settings can hold.

    Raises:
        UserError: It has the name of a loss of gs3d, or a field of another type, besides the
            reasons of `load_loss_file`.
    """
    loss = load_loss_file(text, where)
    if loss.name in GUIDANCE:
        raise UserError(f"{where} {text}: gs3d has a loss {loss.name}; give the class another name")
    place = f"{where} {text}: {loss.path} line {loss.line_of()}: class {loss.name}"
    build(loss.kind, plain(loss.kind()), place)
    check_guidance(loss.kind())
    return loss


def check_loss(kind: Any) -> None:
    """Raise `UserError` unless `kind`, a value in `GUIDANCE`, can be made from settings."""
    is_class = isinstance(kind, type) and is_dataclass(kind)
    if not is_class or _required(kind):
        name = getattr(kind, "__qualname__", repr(kind))
        raise UserError(f"GUIDANCE: {name}: expected a dataclass whose fields all have defaults")


def _required(kind: Any) -> list[str]:
    """Names of the fields of a dataclass that have no default."""
    return [f.name for f in fields(kind) if f.default is f.default_factory is dataclasses.MISSING]


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        names = ", ".join(f.name for f in fields(kind))
        raise UserError(f"{where}: expected settings as `key: value` ({names}), got {value!r}")
    value = rename_settings(kind, value)
    hints = _types_of(kind)
    for key in value:
        check_key(key, list(hints), where)
    if missing := [name for name in _required(kind) if name not in value]:
        raise UserError(f"{where}: expected {', '.join(missing)} too, got {value!r}")
    built = {key: build(hints[key], part, f"{where}: {key}") for key, part in value.items()}
    try:
        return kind(**built)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


@lru_cache(maxsize=256)
def _types_of(kind: Any) -> dict[str, Any]:
    """Name -> type of each field of a dataclass."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


def _build_tuple(members: tuple, value: Any, where: str) -> tuple:
    any_length = members[-1] is Ellipsis
    if not isinstance(value, list) or (not any_length and len(value) != len(members)):
        length = "" if any_length else f" of {len(members)}"
        raise UserError(f"{where}: expected a list{length}, got {value!r}")
    kinds = [members[0]] * len(value) if any_length else members
    return tuple(build(kind, part, where) for kind, part in zip(kinds, value, strict=True))


def plain(value: Any) -> Any:
    """Convert to what YAML can hold; the inverse of `build` for settings.

    Dataclasses become dictionaries and tuples become lists. Any other object, which only a guidance
    of the user's own may have, becomes the name of its type.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return value
    return f"{type(value).__module__}.{type(value).__qualname__}"


def check_key(key: Any, allowed: list[str], where: str) -> None:
    """Raise `UserError` unless `key` is in `allowed`. The message suggests the closest key."""
    if key not in allowed:
        near = difflib.get_close_matches(str(key), allowed, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(allowed)}"
        raise UserError(f"{where}: unknown setting {key!r}; {hint}")


def optional_of(kind: Any) -> Any:
    """Return X for `X | None`, and any other type unchanged."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    return next(k for k in typing.get_args(kind) if k is not type(None))


def paths_of(kind: Any, head: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, type) of every setting of a dataclass, such as ("cameras.draws", int | None)."""
    for name, member in _types_of(kind).items():
        yield f"{head}{name}", member
        if is_dataclass(inner := optional_of(member)):
            yield from paths_of(inner, f"{head}{name}.")
