"""A disk that is full or read-only: a small one of its own where this process may mount that, else
a folder in which the functions that write raise the same errors."""

import builtins
import errno
import io
import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT = ".fault"
"""Ends the name of the file that holds the error of a folder, if it has one."""
SIZE = "4m"


class Disk:
    """A folder whose disk has a fault at times."""

    def __init__(self, folder: Path):
        self.folder = folder

    def full(self) -> None:
        self._fail(errno.ENOSPC)

    def read_only(self) -> None:
        self._fail(errno.EROFS)

    def mend(self) -> None:
        fault_of(self.folder).unlink()

    def _fail(self, number: int) -> None:
        fault_of(self.folder).write_text(str(number))


class SmallDisk(Disk):
    """One that is really full."""

    def full(self) -> None:
        with open(self.folder / "ballast", "wb", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def mend(self) -> None:
        (self.folder / "ballast").unlink()


def mounted(folder: Path) -> bool:
    """Mount a small disk at a folder; whether that is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def fault_of(folder: Path) -> Path:
    return folder.with_name(folder.name + FAULT)


def fail_in(folder: str, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let this process find the faults of a `Disk` in the functions that write files. `replace`
    puts other functions in their places."""
    root = os.path.realpath(folder)
    fault = fault_of(Path(root))

    def number_at(path: Any) -> int:
        real = os.path.realpath(path) if isinstance(path, (str, Path)) else ""
        return int(fault.read_text()) if real.startswith(root + os.sep) and fault.exists() else 0

    def patch(module: Any, name: str, fails: Callable[..., bool]) -> None:
        real = getattr(module, name)

        def checked(path, *args, **options):
            number = number_at(path)
            if number and fails(number, *args, **options):
                if module is sqlite3:
                    raise sqlite3.OperationalError("database or disk is full")
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *args, **options)

        replace(module, name, checked)

    def writes(number: int, mode: str = "r", *args, **options) -> bool:
        return any(letter in mode for letter in "wax+")

    def creates(number: int, flags: int, *args, **options) -> bool:
        return bool(flags & os.O_CREAT)

    def is_read_only(number: int, *args, **options) -> bool:
        return number == errno.EROFS

    def always(number: int, *args, **options) -> bool:
        return True

    patch(os, "open", creates)
    patch(builtins, "open", writes)
    replace(io, "open", builtins.open)
    patch(os, "mkdir", always)
    patch(os, "unlink", is_read_only)
    patch(os, "replace", is_read_only)
    patch(sqlite3, "connect", always)
