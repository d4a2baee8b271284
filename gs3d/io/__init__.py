"""Readers and writers of splats, meshes, HTML pages, images and videos.

Also holds the names of a run's result files.

To add a splat format, write one module and add one line to each table below,
`suffix: "module:function"`. The functions are `write(path, splats)` and `read(path) -> Splats`.
They are imported on first use, so that importing gs3d.io is cheap.
"""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Splats, TexturedMesh

WRITERS = {
    ".ply": "gs3d.io.splats.ply:write_ply",
    ".compressed.ply": "gs3d.io.splats.compressed_ply:write_compressed",
    ".glb": "gs3d.io.splats.gltf:write_glb_splats",
    ".usda": "gs3d.io.splats.usd:write_usd",
    ".splat": "gs3d.io.splats.splat:write_splat",
    ".spz": "gs3d.io.splats.spz:write_spz",
    ".html": "gs3d.io.html.splats:write_html",
}
"""Splat writers by file suffix."""
READERS = {
    ".ply": "gs3d.io.splats.ply:read_ply",
    # read_ply detects a compressed file by its header, because the suffix is often just .ply.
    ".compressed.ply": "gs3d.io.splats.ply:read_ply",
    ".glb": "gs3d.io.splats.gltf:read_glb_splats",
    ".splat": "gs3d.io.splats.splat:read_splat",
    ".spz": "gs3d.io.splats.spz:read_spz",
}
"""Splat readers by file suffix."""
MESH_SUFFIXES = (".glb", ".obj", ".ply")
"""Suffixes that `gs3d.io.mesh.write_mesh` supports."""
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


def _find_function(table: dict[str, str], path: str | Path, verb: str) -> Callable:
    """The function in `table` for the longest suffix that matches `path`.

    The longest match lets .compressed.ply and .ply coexist. `verb` is "read" or "write".
    UserError if no suffix matches.
    """
    name = Path(path).name.lower()
    known = [suffix for suffix in table if name.endswith(suffix)]
    if (
        not known
        and verb == "read"
        and (written := [s for s in (*WRITERS, *MESH_SUFFIXES) if name.endswith(s)])
    ):
        suffix = max(written, key=len)
        raise UserError(
            f"cannot read {path}: {suffix} is written, not read. "
            f"Give the file that it was exported from, such as {SPLATS} or {MESH}."
        )
    if not known:
        suffixes = ", ".join(sorted(table))
        got = Path(path).suffix or "no suffix"
        raise UserError(
            f"cannot {verb} {path}: expected a file name that ends in one of {suffixes}, "
            f"got {got}. Change the name."
        )
    module, function = table[max(known, key=len)].split(":")
    return getattr(import_module(module), function)


def save_splats(path: str | Path, splats: Splats, **options: int) -> None:
    """Write `splats` (world coordinates) in the format that the suffix of `path` selects.

    The file is verified before it replaces an existing one. `options` go to the writer:
    `sh_pad` for .ply, `version` for .spz. Invalid splats or a failed write raise UserError.
    """
    _find_function(WRITERS, path, "write")(path, splats, **options)


def load_splats(path: str | Path) -> Splats:
    """Read splats in world coordinates, on the CPU, from a file in any format of READERS.

    Invalid rows are left out with a `DroppedRows` warning. An unreadable file raises UserError.
    """
    return _find_function(READERS, path, "read")(path)


def load_asset(path: str | Path) -> Splats | Mesh | TexturedMesh:
    """Read splats or a mesh, in world coordinates.

    `path` is a splat file, a .glb of splats or of a mesh, or the folder of a finished run.
    UserError if it is none of these or cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"cannot read {path}: there is no such file or folder. Check the path.")
    file = result_file(Path(path)) if Path(path).is_dir() else Path(path)
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
