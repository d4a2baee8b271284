"""Readers and writers of splats, meshes, HTML pages, images and videos.

Also holds the names of a run's result files.

To add a splat format, write one module (see `gs3d.io.splats`) and add one line to `FORMATS`.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.core.runtime.interrupts import deferred
from gs3d.core.types import Mesh, Splats, TexturedMesh


@dataclass(frozen=True)
class Format:
    """A file format of splats. Its functions are given as "module:function" and imported on first
    use, so that importing gs3d.io is cheap. `gs3d.io.splats` says what they must do."""

    write: str
    """The function `write(path, splats)`."""
    read: str | None = None
    """The function `read(path) -> Splats`; None if the format is only written."""
    sh_degree: int = 3
    """Highest degree of spherical harmonics that a file holds. The writer drops higher ones."""
    parts: bool = False
    """Whether a file can name the objects of a scene; `write` then takes `parts`: their names, each
    with the number of its splats, in the order of the splats."""
    double: bool = False
    """Whether a file may hold positions in double precision; `read` then takes `exact`."""


FORMATS = {
    ".ply": Format(
        "gs3d.io.splats.ply:write_ply", "gs3d.io.splats.ply:read_ply", parts=True, double=True
    ),
    # read_ply detects a compressed file by its header, because the suffix is often just .ply.
    ".compressed.ply": Format(
        "gs3d.io.splats.compressed_ply:write_compressed", "gs3d.io.splats.ply:read_ply"
    ),
    ".glb": Format(
        "gs3d.io.splats.gltf:write_glb_splats",
        "gs3d.io.splats.gltf:read_glb_splats",
        parts=True,
        double=True,
    ),
    ".usda": Format("gs3d.io.splats.usd:write_usd"),
    ".splat": Format(
        "gs3d.io.splats.splat:write_splat", "gs3d.io.splats.splat:read_splat", sh_degree=0
    ),
    ".spz": Format("gs3d.io.splats.spz:write_spz", "gs3d.io.splats.spz:read_spz"),
    ".sog": Format("gs3d.io.splats.sog:write_sog", "gs3d.io.splats.sog:read_sog"),
    ".html": Format("gs3d.io.html.splats:write_html"),
}
"""Splat formats by file suffix. Of several suffixes that fit a file name, the longest counts."""
UNREAD = {
    ".ksplat": "the format .ksplat is not read. Export it as .ply or .splat where it was made.",
    ".gltf": "expected one file, .glb. Export it as glTF Binary.",
    ".zip": "it is an archive. Unpack it; if meta.json is in it, give it the suffix .sog.",
}
"""Other formats of splats, by suffix, and what to do about them."""
SOG_FOLDER = "meta.json"
"""A folder that holds this file is a .sog that is not packed."""
MESH_SUFFIXES = (".glb", ".obj", ".ply", ".html")
"""Suffixes that `gs3d.io.mesh.write_mesh` supports."""
TEXTURED_SUFFIXES = (".glb", ".html")
"""Those of them that hold a texture."""
SPLATS, MESH = "splats.ply", "mesh.glb"
"""File names of a run's result."""
PLOT = "log.png"
"""File name of the plot of a run's log."""


class DroppedRows(UserWarning):
    """Warning from a splat reader: some rows of the file hold no valid splat and were left out."""

    def __init__(self, path: str | Path, dropped: int, total: int) -> None:
        super().__init__(path, dropped, total)
        self.path = path
        self.dropped = dropped
        """Number of rows left out."""
        self.total = total
        """Number of rows in the file."""

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.dropped} of {self.total} rows hold NaN, infinity or "
            "a zero-length quaternion and were left out"
        )


class ClippedValues(UserWarning):
    """Warning from a splat writer: values beyond the range of the format are written as its end, or
    rounded more than usual."""

    def __init__(self, path: str | Path, what: str, count: int, total: int, text: str) -> None:
        super().__init__(path, what, count, total, text)
        self.path = path
        self.what = what
        """positions, scales, colors or harmonics."""
        self.count, self.total = count, total
        """Splats with such a value, and all splats."""
        self.text = text
        """What the value is and becomes, after "have"."""

    def __str__(self) -> str:
        return f"{self.path}: {self.count} of {self.total} splats have {self.text}"


def readable() -> list[str]:
    """The suffixes of the splat formats that can be read."""
    return [suffix for suffix, form in FORMATS.items() if form.read]


def suffix_of(path: str | Path, suffixes: Iterable[str]) -> str | None:
    """The longest of `suffixes` that the name of `path` ends in, in any case; None if none fits.

    The longest, so that .compressed.ply and .ply coexist.
    """
    name = Path(path).name.lower()
    return max((s for s in suffixes if name.endswith(s)), key=len, default=None)


def _function(place: str) -> Callable:
    module, name = place.split(":")
    with deferred():
        return getattr(import_module(module), name)


def _unknown_suffix(verb: str, path: str | Path, suffixes: Iterable[str]) -> UserError:
    got = Path(path).suffix or "no suffix"
    return UserError(
        f"cannot {verb} {path}: expected a file name that ends in one of "
        f"{', '.join(sorted(suffixes))}, got {got}. Change the name."
    )


def save_splats(path: str | Path, splats: Splats, **options: Any) -> None:
    """Write `splats` (world coordinates) in the format that the suffix of `path` selects.

    The file is verified before it replaces an existing one. `options` go to the writer:
    `sh_pad` for .ply, `version` for .spz, `parts` for .ply and .glb. Invalid splats or a failed
    write raise UserError.
    """
    suffix = suffix_of(path, FORMATS)
    if suffix is None:
        raise _unknown_suffix("write", path, FORMATS)
    _function(FORMATS[suffix].write)(path, splats, **options)


def load_splats(path: str | Path, exact: bool = False) -> Splats:
    """Read splats in world coordinates, on the CPU, from a file in any format of `readable`.

    All values are float32, but with `exact` positions are float64 if a file has them so and float32
    would lose something. Invalid rows are left out with a `DroppedRows` warning. An unreadable file
    raises UserError.
    """
    suffix = suffix_of(path, (*FORMATS, *MESH_SUFFIXES))
    if Path(path).name == SOG_FOLDER:
        suffix = ".sog"
    read = FORMATS[suffix].read if suffix in FORMATS else None
    if suffix is None:
        if (other := suffix_of(path, UNREAD)) is not None:
            raise UserError(f"cannot read {path}: {UNREAD[other]}")
        raise _unknown_suffix("read", path, readable())
    if read is None:
        raise UserError(
            f"cannot read {path}: {suffix} is written, not read. "
            f"Give the file that it was exported from, such as {SPLATS} or {MESH}."
        )
    return _function(read)(path, **({"exact": True} if exact and FORMATS[suffix].double else {}))


def load_asset(path: str | Path) -> Splats | Mesh | TexturedMesh:
    """Read splats or a mesh, in world coordinates.

    `path` is a splat file, a .glb of splats or of a mesh, or the folder of a finished run or of a
    .sog that is not packed. UserError if it is none of these or cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"cannot read {path}: there is no such file or folder. Check the path.")
    file = asset_file(Path(path)) if Path(path).is_dir() else Path(path)
    if file is None:
        raise UserError(
            f"{path}: is no folder of a finished run; neither {SPLATS} nor {MESH} is in it"
        )
    if file.suffix.lower() == ".glb" and not import_module("gs3d.io.splats.gltf").holds_splats(
        file
    ):
        return import_module("gs3d.io.mesh").read_mesh(file)
    return load_splats(file)


def result_file(folder: Path) -> Path | None:
    """The result of the run in `folder`: its splats, else its mesh, else None."""
    return next((folder / name for name in (SPLATS, MESH) if (folder / name).is_file()), None)


def asset_file(folder: Path) -> Path | None:
    """The result of the run in `folder`, or the description of a .sog; None if neither is there."""
    description = folder / SOG_FOLDER
    return result_file(folder) or (description if description.is_file() else None)


def bytes_of(file: Path) -> int:
    """Bytes of a splat file or a mesh, with the images beside the description of a .sog. OSErrors
    pass through."""
    beside = file.parent.glob("*.webp") if file.name == SOG_FOLDER else ()
    images = (image.stat().st_size for image in beside if image.is_file())
    return file.stat().st_size + sum(images)
