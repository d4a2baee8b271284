"""A guidance loss in a file of the user's own, named FILE.py:CLASS.

Loading such a file runs it. So a name may come from the command line or from a program, where the
user typed it, and never from a config file or a run.yaml, which may be a stranger's.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import re
import sys
import traceback
import types
import typing
from dataclasses import MISSING, Field, dataclass, field, fields
from importlib.util import decode_source
from pathlib import Path
from typing import Any, NoReturn

from gs3d.core.errors import UserError, shown
from gs3d.core.runtime.exclusive import exclusive
from gs3d.core.source import code_of

CALL = ("prior", "condition", "z0", "progress", "seed", "step")
"""Arguments of a guidance, which a run gives by position."""
PREFIX = "gs3d_loss_file_"
"""Start of the module names of these files; digits of a hash of path and content follow."""
_files: dict[str, tuple[Path, bytes]] = {}
"""Module name -> path and content of the files that this process has loaded."""


@dataclass(frozen=True)
class LossFile:
    """The class of a loss, and the file that defines it."""

    path: Path
    """Absolute."""
    name: str
    """Of the class. It names the loss in settings: `losses.NAME.FIELD`."""
    kind: type
    data: bytes = field(repr=False)
    """Content of the file when it was loaded."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def code_sha256(self) -> str:
        """Hash of the file without comments, docstrings, annotations and layout."""
        return hashlib.sha256(code_of(decode_source(self.data)).encode()).hexdigest()

    @property
    def facts(self) -> dict[str, str]:
        """For run.yaml."""
        found = {"file": str(self.path), "class": self.name}
        return found | {"sha256": self.sha256, "code_sha256": self.code_sha256}

    def line_of(self, member: str | None = None) -> int:
        """Number of the line where the class begins, or a field or method of it; 1 if there is none
        in the text."""
        for node in ast.parse(self.data).body:
            if isinstance(node, ast.ClassDef) and node.name == self.name:
                return next((n.lineno for n in node.body if _defines(n, member)), node.lineno)
        return 1


def is_loss_file(value: object) -> bool:
    """Whether a text ends in .py:NAME. No other text is ever taken for a file with code."""
    return isinstance(value, str) and _parts(value) is not None


def load_loss_file(text: str, where: str = "--guidance") -> LossFile:
    """Run the file in "FILE.py:CLASS" and return the class.

    Args:
        text: A name that the user typed.
        where: The option that it is a value of, for messages.

    Raises:
        UserError: The file cannot be read or run, or its class is no guidance loss as
            `gs3d.guidance` describes it.
    """
    parts = _parts(text)
    where = f"{where} {text}"
    if parts is None:
        raise UserError(f"{where}: expected FILE.py:CLASS, the file and the class of a loss")
    path = Path(parts[0]).expanduser().absolute()
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where}: {shown(path, 200)} cannot be read ({reason})") from None
    module = _run(path, data, where)
    kind = _class_in(module, parts[1], path, where)
    found = LossFile(path, parts[1], kind, data)
    _check(found, where)
    return found


def file_of(guidance: object) -> LossFile | None:
    """The file that a loss was loaded from; None for any other object."""
    kind = type(guidance)
    if (known := _files.get(kind.__module__)) is None:
        return None
    return LossFile(known[0], kind.__name__, kind, known[1])


def fault_in(error: BaseException) -> str | None:
    """Which line of a loss file an exception passed through last, such as "loss.py line 34:
    RuntimeError: ..."; None if it passed through none."""
    lines = [
        (_files[name][0], number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if (name := str(frame.f_globals.get("__name__"))) in _files
    ]
    if not lines:
        return None
    return f"{lines[-1][0]} line {lines[-1][1]}: {_shown(error)}"


def names_in(path: Path) -> list[str]:
    """Names of the classes that a file defines, without running it; [] if it cannot be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def _parts(text: str) -> tuple[str, str] | None:
    """FILE.py and CLASS of a text "FILE.py:CLASS"; None for any other."""
    match = re.fullmatch(r"(.*\.py):([^:]+)", text, re.DOTALL)
    return (match[1], match[2]) if match and match[2].isidentifier() else None


def _defines(node: ast.stmt, member: str | None) -> bool:
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == member
    return isinstance(node, ast.FunctionDef) and node.name == member


def _run(path: Path, data: bytes, where: str) -> types.ModuleType:
    """The module of a file. It is run once a process, and again after it has changed."""
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape") + b"\n" + data).hexdigest()
    name = PREFIX + digest[:16]
    with exclusive():
        if name in _files:
            return sys.modules[name]
        try:
            code = compile(data, str(path), "exec", dont_inherit=True)
        except SyntaxError as error:
            _refuse(where, path, error.lineno, f"expected Python, got {error.msg}")
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            _refuse(where, path, None, f"expected Python, got {_shown(error)}")
        module = types.ModuleType(name)
        module.__file__ = str(path)
        # Dataclasses look up their module by its name.
        sys.modules[name], _files[name] = module, (path, data)
        try:
            exec(code, module.__dict__)
        except BaseException as error:
            del sys.modules[name], _files[name]
            if not isinstance(error, (Exception, SystemExit)):
                raise  # Ctrl-C
            frames = traceback.walk_tb(error.__traceback__)
            lines = [line for frame, line in frames if frame.f_code.co_filename == str(path)]
            advice = ""
            if isinstance(error, SystemExit):
                advice = '; put what a program does under `if __name__ == "__main__":`'
            what = f"expected a file that can be imported, got {_shown(error)}{advice}"
            _refuse(where, path, lines[-1] if lines else None, what)
    return module


def _class_in(module: types.ModuleType, name: str, path: Path, where: str) -> type:
    kind = getattr(module, name, None)
    own = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    if kind is None:
        by_lower = {key.lower(): key for key in own}
        near = difflib.get_close_matches(name.lower(), by_lower, 1)
        hint = f"; did you mean {by_lower[near[0]]!r}?" if near else ""
        hint = hint or f"; it defines {', '.join(own) or 'no class'}"
        raise UserError(f"{where}: expected a class {name} in {path}, which has none{hint}")
    if not isinstance(kind, type):
        got = f"{'the function' if callable(kind) else 'a value of type'} {_name(kind)}"
        raise UserError(f"{where}: expected a class of {path}, got {got}")
    if kind.__module__ != module.__name__:
        raise UserError(
            f"{where}: expected a class that {path} defines itself, got {kind.__name__} of "
            f"{kind.__module__}; a subclass of it would do"
        )
    if kind.__name__ != name:
        raise UserError(f"{where}: {name} is another name of {kind.__name__}; give that one")
    return kind


def _check(loss: LossFile, where: str) -> None:
    """`UserError` unless a class is a frozen dataclass with defaults that can be called."""
    kind: Any = loss.kind
    own: dict[str, Any] = dict(vars(loss.kind))
    params = own.get("__dataclass_params__")
    if params is None or not params.frozen:
        got = "a plain class" if params is None else "a dataclass that is not frozen"
        what = f"expected a frozen dataclass, got {got}; write @dataclass(frozen=True) above it"
        _refuse(where, loss.path, loss.line_of(), f"class {loss.name}: {what}")
    members: tuple[Field[Any], ...] = fields(kind)
    for member in members:
        if member.default is MISSING and member.default_factory is MISSING or not member.init:
            _refuse(
                where,
                loss.path,
                loss.line_of(member.name),
                f"{loss.name}.{member.name}: expected a default, because fields are settings",
            )
    try:
        typing.get_type_hints(kind)
        made = kind()
    except Exception as error:
        text = fault_in(error) or f"{loss.path} line {loss.line_of()}: {_shown(error)}"
        raise UserError(f"{where}: {text}; expected {loss.name}() to work") from None
    try:
        if not callable(made):
            raise TypeError("it has no __call__")
        inspect.signature(made).bind(*CALL)
    except TypeError as error:
        _refuse(
            where,
            loss.path,
            loss.line_of("__call__"),
            f"class {loss.name}: expected __call__(self, {', '.join(CALL)}), got another: {error}",
        )


def _refuse(where: str, path: Path, line: int | None, what: str) -> NoReturn:
    at = "" if line is None else f" line {line}"
    raise UserError(f"{where}: {path}{at}: {what}") from None


def _shown(error: BaseException) -> str:
    text = shown(error, 200)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _name(value: object) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
