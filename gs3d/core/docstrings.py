"""Reads the string literals below dataclass fields, used as help for arguments and options."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise


def field_texts(cls: type) -> dict[str, str]:
    """Field -> the string below it as one line, in `cls` and its base classes.

    Raises:
        OSError: The source code is not available.
    """
    return {name: text for base in reversed(cls.__mro__) for name, text in _own_texts(base)}


def _own_texts(cls: type) -> Iterator[tuple[str, str]]:
    """(field, text) for the fields that a class adds or overrides."""
    if cls is object:
        return
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    for field, below in pairwise(definition.body):
        text = below.value if isinstance(below, ast.Expr) else None
        if not isinstance(field, ast.AnnAssign) or not isinstance(text, ast.Constant):
            continue
        if isinstance(field.target, ast.Name) and isinstance(text.value, str):
            yield field.target.id, " ".join(text.value.split())
