"""Splats and files that the tests of several formats share."""

import json
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.splats.gltf import write_glb_splats
from gs3d.io.splats.ply import read_ply, write_ply

SH_C0 = 0.28209479177387814
GLTF_PREFIX = "KHR_gaussian_splatting:"
SPZ_SH_BYTES = {0: 0, 1: 9, 2: 24, 3: 45, 4: 72}
"""Bytes of SH coefficients per splat, by degree."""


def random_splats(count: int = 50, degree: int = 0, seed: int = 0, sh_scale: float = 0.3) -> Splats:
    gen = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    return Splats(
        means=0.5 * normal(count, 3),
        quats=normal(count, 4),
        scales=(normal(count, 3) - 4).exp(),
        opacities=normal(count).mul(2).sigmoid(),
        sh=sh_scale * normal(count, (degree + 1) ** 2, 3),
    )


def random_directions(count: int, seed: int) -> torch.Tensor:
    """Unit vectors [count, 3], float64."""
    gen = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(count, 3, generator=gen, dtype=torch.float64), dim=1
    )


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether the relative error of the whole tensor is at most 1e-6."""
    return bool((a - b).norm() <= 1e-6 * b.norm())


def assert_refused(path: Path, message: str, act: Callable[[Path], object]) -> None:
    """Assert that `act(path)` raises a UserError of one line that names `path`."""
    with pytest.raises(UserError, match=message) as caught:
        act(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 500 + len(str(path))


def assert_not_written(path: Path, message: str, write: Callable[[Path], object]) -> None:
    """Assert that `write(path)` is refused without a warning and leaves the old file alone."""
    path.write_bytes(b"old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_refused(path, message, write)
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def change_bytes(data: np.ndarray, rng: np.random.Generator) -> bytes:
    """`data`, uint8 [N], with three random bytes replaced."""
    damaged = data.copy()
    damaged[rng.integers(0, len(damaged), 3)] = rng.integers(0, 256, 3)
    return damaged.tobytes()


def read_ignoring_damage(path: Path, read: Callable[[Path], Splats]) -> None:
    """Read a damaged file: a warning or a UserError is fine, any other exception is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            splats = read(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert torch.isfinite(splats.means).all()


# PLY


def ply_rows(path: Path) -> np.ndarray:
    """The columns of a .ply, as another program reads them."""
    return plyfile.PlyData.read(str(path))["vertex"].data


def ply_columns(rows: np.ndarray, names) -> torch.Tensor:
    """The named columns as float64 [N, len(names)]."""
    return torch.tensor(np.stack([rows[name] for name in names], axis=1).astype(np.float64))


def write_foreign_ply(path: Path, rows: np.ndarray, text: bool = False, byte_order="<") -> None:
    """Write `rows` as a .ply of another program: no comment, any columns and types."""
    element = plyfile.PlyElement.describe(rows, "vertex")
    plyfile.PlyData([element], text=text, byte_order=byte_order).write(str(path))


def valid_ply_rows(folder: Path, degree: int = 0, count: int = 6) -> tuple[np.ndarray, Splats]:
    """Rows of a valid .ply, and the splats they hold. Leaves good.ply in `folder`."""
    write_ply(folder / "good.ply", random_splats(count, degree))
    return np.array(ply_rows(folder / "good.ply")), read_ply(folder / "good.ply")


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def drop_columns(rows: np.ndarray, names: set[str]) -> np.ndarray:
    """`rows` without these columns, all others as floats."""
    kept = [name for name in rows.dtype.names if name not in names]
    result = np.zeros(len(rows), dtype=[(name, "<f4") for name in kept])
    for name in kept:
        result[name] = rows[name]
    return result


# glTF


def glb_chunks(path: Path) -> tuple[dict, bytes]:
    """The JSON and the binary chunk of a .glb; asserts the layout of the container."""
    data = path.read_bytes()
    magic, version, total, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON") and length % 4 == 0
    binary_length, kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    assert kind == b"BIN\0" and binary_length % 4 == 0
    assert len(data) == 28 + length + binary_length
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def write_glb_chunks(path: Path, tree: dict, binary: bytes) -> Path:
    """Write a .glb of these chunks, as another program would."""
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
    return path


def glb_attribute(path: Path, name: str) -> torch.Tensor:
    """The rows of an attribute, float64; asserts that the array has its own bufferView."""
    tree, binary = glb_chunks(path)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]
    view = tree["bufferViews"][accessor["bufferView"]]
    assert view["byteOffset"] % 4 == 0 and view["target"] == 34962 and "byteStride" not in view
    dtype = {5126: "<f4", 5123: "<u2"}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    rows = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"])
    rows = rows.reshape(-1, width)
    assert view["byteLength"] == rows.nbytes
    assert accessor.get("normalized", False) == (dtype == "<u2")
    return torch.tensor(rows.astype(np.float64) / (65535 if dtype == "<u2" else 1))


def glb_with_changed_json(
    folder: Path, change: Callable[[dict], object], degree: int = 0
) -> tuple[Path, Path]:
    """A .glb of 6 splats with its JSON modified by `change`, and the unmodified file."""
    write_glb_splats(folder / "good.glb", random_splats(6, degree))
    tree, binary = glb_chunks(folder / "good.glb")
    change(tree)
    return write_glb_chunks(folder / "a.glb", tree, binary), folder / "good.glb"


# SPZ


def spz_header(version=3, count=1, degree=0, bits=12, flags=0, magic=b"NGSP") -> bytes:
    return magic + struct.pack("<IIBBBB", version, count, degree, bits, flags, 0)


def spz_streams(version=3, count=1, degree=0) -> bytes:
    """Streams of opaque splats at the origin with the identity rotation."""
    rotation = b"\x00\x00\x00\xc0" if version >= 3 else b"\x80\x80\x80"
    position = bytes(6 if version == 1 else 9)
    harmonics = b"\x80" * SPZ_SH_BYTES[degree]
    parts = (position, b"\xff", b"\x80\x80\x80", b"\x60\x60\x60", rotation, harmonics)
    return b"".join(part * count for part in parts)


def spz_versions() -> list:
    """The versions that can be written here, as parameters of a test."""
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return [2, 3, pytest.param(4, marks=pytest.mark.skip(reason="no zstandard"))]
    return [2, 3, 4]
