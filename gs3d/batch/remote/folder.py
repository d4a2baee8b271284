"""A folder at a URL, and how files get there: each is whole or is not there."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from gs3d.core.errors import UserError

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
"""Begins a URL. A single letter is a drive of Windows."""
READ_AT_ONCE = 500
"""Small files that are read in one call, at the same time where the file system can."""
IN_ONE_PROCESS = ("memory",)
"""Schemes whose files other processes do not see."""
BUCKETS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss")
"""Schemes without folders. Asked for one, some make a bucket of a misspelt name."""
S3 = ("s3", "s3a")
"""Schemes of which an object is whole or not there, whatever way it is written."""


@dataclass(frozen=True)
class Remote:
    """A folder at a URL. Its methods raise what the file system does."""

    url: str
    fs: Any
    """The file system, an `fsspec.AbstractFileSystem`."""
    root: str
    """The folder in it."""

    def under(self, name: str) -> "Remote":
        """A folder in this one."""
        return replace(self, url=f"{self.url}/{name}", root=f"{self.root}/{name}")

    def files(self) -> list[str]:
        """Names of all files, with / between folders; those that would lie elsewhere are left
        out."""
        self.fs.invalidate_cache()
        try:
            paths = self.fs.find(self.root)
        except FileNotFoundError:
            return []
        names = (path.removeprefix(self.root).lstrip("/") for path in paths)
        return [name for name in names if name and ".." not in PurePosixPath(name).parts]

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Name -> content of each file that is there."""
        found: dict[str, bytes] = {}
        for first in range(0, len(names), READ_AT_ONCE):
            paths = {f"{self.root}/{name}": name for name in names[first : first + READ_AT_ONCE]}
            for path, data in self.fs.cat(list(paths), on_error="return").items():
                if isinstance(data, bytes):
                    found[paths[path]] = data
                elif not isinstance(data, FileNotFoundError):
                    raise data
        return found

    def get(self, name: str, file: Path) -> None:
        """Copy a file from here. It is there when it is whole."""
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            with self.fs.open(f"{self.root}/{name}", "rb") as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    def put(self, name: str, content: Path | bytes) -> None:
        """Create or replace a file. Until it is whole, readers find the one before."""
        path, scheme = f"{self.root}/{name}", self.url.partition("://")[0]
        if scheme in S3:
            # One request, where a transaction takes three, one after the other.
            if isinstance(content, bytes):
                self.fs.pipe_file(path, content)
            else:
                self.fs.put_file(str(content), path)
            return
        if scheme not in BUCKETS:
            self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self.fs.transaction, self.fs.open(path, "wb") as target:
            if isinstance(content, bytes):
                target.write(content)
            else:
                with open(content, "rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)

    def delete(self, name: str) -> None:
        self.fs.rm_file(f"{self.root}/{name}")


def is_url(out: str) -> bool:
    return URL.match(out) is not None


def opened(url: str) -> Remote:
    """The folder at a URL; whether it can be reached is not tried.

    Raises:
        UserError: The scheme is not known, or its library is not installed.
    """
    from fsspec.core import url_to_fs

    url = url.rstrip("/")
    scheme = url.partition("://")[0]
    if re.match(r"[^/]*//[^/]*:[^/]*@", url):
        raise UserError(
            "--out: expected a URL without a password, which would be in files of the batch; "
            "fsspec reads it from its configuration or the environment"
        )
    if scheme in IN_ONE_PROCESS or "::" in url or any(letter in url for letter in "*?["):
        raise UserError(
            f"--out {url}: expected a URL that all processes reach, without *, ?, [ and ::, such "
            "as s3://BUCKET/FOLDER"
        )
    try:
        fs, root = url_to_fs(url)
    except ImportError as error:
        extra = ' `pip install "gs3d[batch]"`' if scheme == "s3" else f" {why(error)}"
        raise UserError(f"--out {url}: {scheme}:// needs a library;{extra}") from None
    except Exception as error:  # each file system has exceptions of its own
        raise UserError(
            f"--out {url}: cannot be opened ({why(error)}); expected a folder or a URL that "
            "fsspec knows, such as s3://BUCKET/FOLDER"
        ) from None
    return Remote(url, fs, root.rstrip("/"))


def check(place: Remote) -> None:
    """Write, read and delete a small file. `UserError` if that fails."""
    name, content = f".gs3d-write-test-{secrets.token_hex(4)}", b"0" * 64
    try:
        place.put(name, content)
        try:
            if place.read([name]) != {name: content}:
                raise OSError("a file that was written is not there")
        finally:
            place.delete(name)
    except Exception as error:
        with contextlib.suppress(Exception):
            place.fs.invalidate_cache()
        raise UserError(
            f"--out {place.url}: cannot be written ({why(error)}); check that it is there, and "
            "your rights"
        ) from None


def why(error: BaseException) -> str:
    """An exception of a file system in a few words."""
    return " ".join(str(error).split())[:200] or type(error).__name__
