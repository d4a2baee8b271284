"""Skinned meshes of glTF, as their joints stand in the file."""

import numpy as np

from gs3d.io.gltf.arrays import read_array
from gs3d.io.gltf.container import Glb
from gs3d.io.gltf.triangles import normals_under

ROWS = 65536
"""Vertices that are moved at a time, which bounds the memory."""


def joint_matrices(glb: Glb, index: object, places: dict[int, np.ndarray]) -> np.ndarray:
    """Transforms [J, 4, 4] that the joints of a skin give its vertices.

    `places` are the transforms of the nodes of the scene. glTF 2.0, "Skins": the transform of a
    joint times its inverse bind matrix; that of the mesh's own node has no effect.
    """
    skin = glb.entry("skins", index)
    joints = glb.items(skin, "joints")
    if not joints or not all(type(j) is int and j in places for j in joints):
        raise glb.fault(f"skin {index} has joints that are not in the scene")
    matrices = np.stack([places[j] for j in joints])
    if "inverseBindMatrices" in skin:
        inverse = read_array(glb, skin["inverseBindMatrices"]).astype(np.float64)
        if inverse.shape[1:] != (16,) or len(inverse) < len(joints):
            raise glb.fault(f"skin {index}: expected a matrix for each of {len(joints)} joints")
        # glTF stores matrices by columns.
        matrices = matrices @ inverse[: len(joints)].reshape(-1, 4, 4).swapaxes(1, 2)
    return matrices


def posed(
    glb: Glb,
    attributes: dict,
    used: np.ndarray,
    matrices: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices and normals [V, 3] of a mesh as its joints move them.

    `used` are the numbers of the vertices in the arrays of the file.
    """
    joints, weights = _bindings(glb, attributes, used, len(matrices))
    moved, turned = np.empty_like(vertices), None if normals is None else np.empty_like(normals)
    for start in range(0, len(vertices), ROWS):
        rows = slice(start, start + ROWS)
        matrix = np.einsum("vj,vjrc->vrc", weights[rows], matrices[joints[rows]])
        moved[rows] = np.einsum("vrc,vc->vr", matrix[:, :3, :3], vertices[rows]) + matrix[:, :3, 3]
        if normals is not None and turned is not None:
            turned[rows] = normals_under(matrix[:, :3, :3], normals[rows])
    return moved, turned


def _bindings(
    glb: Glb, attributes: dict, used: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Joints and weights [V, 4 or more] of the vertices; the weights add up to 1."""
    joints, weights = [], []
    for n in range(8):
        names = (f"JOINTS_{n}", f"WEIGHTS_{n}")
        if not all(name in attributes for name in names):
            break
        counts = [glb.entry("accessors", attributes[name]).get("count") for name in names]
        if not all(type(count) is int and count > used.max() for count in counts):
            raise glb.fault(f"{names[0]}: expected joints and weights for each vertex")
        which = read_array(glb, attributes[names[0]], whole=True, only=used)
        share = read_array(glb, attributes[names[1]], shares=True, only=used)
        if which.shape[1] != 4 or share.shape[1] != 4:
            raise glb.fault(f"{names[0]}: expected four joints and weights for each vertex")
        joints.append(which)
        weights.append(share.astype(np.float64))
    if not joints:
        raise glb.fault("a skinned mesh has no joints")
    which, share = np.concatenate(joints, axis=1), np.concatenate(weights, axis=1)
    which = np.where(share == 0, 0, which)
    if not 0 <= which.min() <= which.max() < most:
        raise glb.fault(f"JOINTS_0: expected joints below {most}, got {which.max()}")
    total = share.sum(axis=1, keepdims=True)
    # A vertex without weights follows its first joint, as in three.js.
    share[:, 0] = np.where(total[:, 0] > 0, share[:, 0], 1)
    return which, share / np.where(total > 0, total, 1)
