# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# diffusers and huggingface_hub have no complete types.
"""Checkpoints of Stable Diffusion in one file: converted once into a diffusers folder.

A single file holds weights alone, in the layout of the network's first code. diffusers knows how to
rename them (`from_single_file`); the configuration and the tokenizer come from the repository of
the model that the file was trained from.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.priors.files.contents import Contents, read_contents, sha256_of
from gs3d.priors.files.convert import configuration_of, pipeline_of
from gs3d.priors.files.layouts import Layout, layout_of
from gs3d.priors.loading import cache, components
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.parts import quiet, usable

RECORD, VERSION = "single_file.json", 1
"""File in a converted folder that says what it was made of, and the version of this code."""


def resolve_file(name: str, file: Path, offline: bool = False) -> Source:
    """The diffusers folder made of the checkpoint `file`, converted now if it is not there yet.

    `name` is the file as the user gave it. The folder is in the Hugging Face cache, or beside the
    file if the cache cannot be written. Its name is the SHA-256 of the file, so a file that was
    moved or renamed is not converted again.

    Raises:
        UserError: The file is no such checkpoint, its configuration is not in the cache and cannot
            be downloaded, or the folder cannot be written.
    """
    began, what = time.monotonic(), f"prior {name}"
    contents = read_contents(what, file)
    layout = layout_of(what, contents)
    folders = _places(file)
    for folder in folders:
        # Hashing gigabytes takes as long as reading them, so a file that was seen is not hashed.
        if _is_converted(folder) and _record(folder).get("file") == _facts(file):
            return Source(name, folder)
    digest = sha256_of(file)
    folders = [place.parent / f"{place.name[:-1]}{digest[:16]}" for place in _patterns(file)]
    for folder in folders:
        if _is_converted(folder) and _record(folder).get("sha256") == digest:
            _write_record(folder, file, digest)
            return Source(name, folder)
    configuration = configuration_of(what, layout, offline)
    folder = _convert(what, file, digest, contents, layout, configuration, folders)
    return Source(name, folder, download_s=time.monotonic() - began)


def sha256_in(folder: Path) -> str | None:
    """SHA-256 of the single file that a model folder was converted from; None for any other."""
    return _record(folder).get("sha256")


def _convert(
    what: str,
    file: Path,
    digest: str,
    contents: Contents,
    layout: Layout,
    configuration: Path,
    folders: list[Path],
) -> Path:
    """Write the diffusers folder, at the first of `folders` that can be written."""
    size = file.stat().st_size
    with _new_folder(what, folders, size) as (temporary, folder):
        print(
            f"converting {file} ({size / 1e9:.1f} GB), once, to the diffusers folder {folder}; "
            "Ctrl-C stops it",
            file=sys.stderr,
            flush=True,
        )
        with quiet(), usable(f"{what}: the file", "converted"):
            pipeline = pipeline_of(what, file, contents, layout, configuration)
            pipeline.save_pretrained(temporary)
        if license_ := contents.metadata.get("modelspec.license"):
            text = json.dumps(shown(license_, 200))
            (temporary / "README.md").write_text(f"---\nlicense: {text}\n---\n", "utf-8")
        components.read_index(temporary, what.removeprefix("prior "))
        _write_record(temporary, file, digest)
        # Another process may have made it meanwhile, and read it now.
        if not _is_converted(folder):
            if folder.exists():  # of an older version of this code, or damaged
                shutil.rmtree(folder)
            os.replace(temporary, folder)
    return folder


def _patterns(file: Path) -> list[Path]:
    """Where converted folders are, with * for the hash: in the cache, or beside the file."""
    from huggingface_hub import constants

    root = Path(constants.HF_ASSETS_CACHE) / "gs3d" / "models"
    return [root / "*", file.resolve().parent / f"{file.stem}-diffusers-*"]


def _places(file: Path) -> list[Path]:
    """The folders that may be converted from `file`."""
    return [
        folder
        for pattern in _patterns(file)
        if pattern.parent.is_dir()
        for folder in sorted(pattern.parent.iterdir())
        if folder.name.startswith(pattern.name[:-1]) and (folder / RECORD).is_file()
    ]


def _is_converted(folder: Path) -> bool:
    return _record(folder).get("version") == VERSION and cache.is_complete_model(folder)


def _record(folder: Path) -> dict[str, Any]:
    """What a converted folder was made of; empty for any other folder."""
    try:
        tree = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _write_record(folder: Path, file: Path, digest: str) -> None:
    record = {"version": VERSION, "sha256": digest, "file": _facts(file)}
    temporary = folder / f"{RECORD}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(record, indent=1), "utf-8")
        os.replace(temporary, folder / RECORD)
    except OSError:
        if not (folder / RECORD).is_file():
            raise
        # A cache that can be read only: the file is hashed again the next time.


def _facts(file: Path) -> list[Any]:
    """Place, size and time of a file, by which it is known again."""
    state = file.stat()
    return [str(file.resolve()), state.st_size, state.st_mtime_ns]


@contextmanager
def _new_folder(
    what: str, folders: list[Path], size: int
) -> Generator[tuple[Path, Path], None, None]:
    """(temporary folder, its final place) at the first of `folders` where there is room.

    Whatever is left in the temporary folder is removed at the end.
    """
    reasons: list[str] = []
    for folder in folders:
        temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(folder.parent).free) < size:
                reasons.append(f"{folder.parent}: {free / 1e9:.1f} GB free")
                continue
            temporary.mkdir()
        except OSError as error:
            reasons.append(f"{folder.parent}: {error.strerror}")
            continue
        try:
            yield temporary, folder
        except OSError as error:
            raise UserError(
                f"{what}: cannot write {folder} ({error.strerror}); free some space or set HF_HOME"
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return
    raise UserError(
        f"{what}: no room for its diffusers folder of {size / 1e9:.1f} GB "
        f"({'; '.join(reasons)}); free some space or set HF_HOME"
    )
