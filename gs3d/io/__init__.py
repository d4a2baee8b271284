"""Splat files, meshes, contact sheets and videos: one file a format; and which file of a run is what it has made.

A splat format is one new file and a line in the tables below, `suffix: "module:function"`. Functions are `write(path, splats)` and
`read(path) -> Splats`; they are imported when first used, so that importing gs3d.io costs nothing.
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
MESH_SUFFIXES = (".glb", ".obj", ".ply")
"""What `export.mesh` writes."""
SPLATS, MESH = "splats.ply", "mesh.glb"
"""What a run calls what it has made."""
PLOT = "log.png"
"""What a run calls the plot of its log."""
READERS = {
    ".ply": "gs3d.io.splats.ply:read_ply",
    ".compressed.ply": "gs3d.io.splats.ply:read_ply",  # which tells the two apart by their headers, as names cannot be trusted
    ".glb": "gs3d.io.splats.gltf:read_glb_splats",
    ".splat": "gs3d.io.splats.splat:read_splat",
    ".spz": "gs3d.io.splats.spz:read_spz",
}


def _pick(table: dict[str, str], path: str | Path, verb: str) -> Callable:
    """The function for the longest suffix of `table` that `path` ends with, so that .compressed.ply can stand beside .ply."""
    name = Path(path).name.lower()
    known = [suffix for suffix in table if name.endswith(suffix)]
    if (
        not known
        and verb == "read"
        and (written := [s for s in (*WRITERS, *MESH_SUFFIXES) if name.endswith(s)])
    ):
        suffix = max(written, key=len)
        raise UserError(
            f"cannot read {path}: {suffix} is written, not read. Give what it was made from: {SPLATS} or {MESH}."
        )
    if not known:
        suffixes = ", ".join(sorted(table))
        got = Path(path).suffix or "no suffix"
        raise UserError(
            f"cannot {verb} {path}: expected a file name that ends in one of {suffixes}, got {got}. Change the name."
        )
    module, function = table[max(known, key=len)].split(":")
    return getattr(import_module(module), function)


def save_splats(path: str | Path, splats: Splats, **options: int) -> None:
    """Write `splats` (world frame) in the format that the suffix of `path` names. The file is checked before it takes its place.

    `options` are the writer's own: `sh_pad` of .ply, `version` of .spz.
    """
    _pick(WRITERS, path, "write")(path, splats, **options)


def load_splats(path: str | Path) -> Splats:
    """Splats in the world frame, on the CPU, from a file in any format of READERS."""
    return _pick(READERS, path, "read")(path)


def load_asset(path: str | Path) -> Splats | Mesh | TexturedMesh:
    """Splats, or the mesh of a .glb that holds no splats, or what the run in a folder has made of the two; in the world frame."""
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
    """What a run has made: its splats, or the mesh of one that makes none; None where there is neither."""
    return next((folder / name for name in (SPLATS, MESH) if (folder / name).is_file()), None)
