"""nvdiffrast gives the same visibility as the PyTorch z-buffer.

Without a GPU, a stand-in written from the library's manual replaces it.
"""

from types import SimpleNamespace

import pytest
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit, ring
from gs3d.representations.meshing import visibility
from gs3d.representations.meshing.triangles import fragments
from tests.representations.meshing.test_triangles import alpha_of, ball

SUBPIXELS = 16
"""nvdiffrast rounds vertex positions to 1 / SUBPIXELS of a pixel."""


def rasterize(context, pos, tri, resolution, grad_db):
    """Stand-in for `nvdiffrast.torch.rasterize`: pos [1, V, 4] in clip space, tri [F, 3].

    Returns [1, H, W, 4]: channel 2 is z / w, channel 3 the triangle number counted from 1. The
    first row is at y = −1.
    """
    assert (
        pos.dtype == torch.float32
        and tri.dtype == torch.int32
        and pos.is_contiguous()
        and tri.is_contiguous()
    )
    height, width = resolution
    out = torch.zeros(height, width, 4)
    nearest = torch.full((height, width), 1.0)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    ndc = pos[0, :, :3] / pos[0, :, 3:]
    places = ((ndc[:, :2] + 1) / 2 * torch.tensor([width, height]) * SUBPIXELS).round() / SUBPIXELS
    for number, row in enumerate(tri.long()):
        (ax, ay), (bx, by), (cx, cy) = places[row].tolist()
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        second = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        third = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        z = ndc[row, 2] @ torch.stack([1 - second - third, second, third]).flatten(1)
        z = z.view(height, width)
        hit = (second >= 0) & (third >= 0) & (second + third <= 1) & (z >= -1) & (z < nearest)
        nearest[hit] = z[hit]
        out[..., 2][hit], out[..., 3][hit] = z[hit], number + 1.0
    return out[None], None


@pytest.fixture
def library(monkeypatch):
    """Replace nvdiffrast with the stand-in."""
    monkeypatch.setattr(
        visibility, "_nvdiffrast", lambda device: (SimpleNamespace(rasterize=rasterize), None)
    )


def two_balls():
    """Return two balls without any symmetry: one in front of the other as seen from +X."""
    big, faces = ball(10, 0.5, (-0.2, 0.2, 0.1))
    small, small_faces = ball(8, 0.2, (0.5, -0.1, 0.25))
    return torch.cat([big, small]), torch.cat([faces, small_faces + len(big)])


def wide_cameras() -> Cameras:
    """Return two cameras with images of 56 × 40 pixels."""
    azimuth, elevation, fovy, fill = (
        torch.tensor([a, b]) for a, b in ((0.0, 2.1), (0.35, 0.2), (0.66, 0.7), (0.9, 0.9))
    )
    return orbit(azimuth, elevation, distance_for(fovy, fill), fovy, 56, 40)


@pytest.mark.parametrize("view", [0, 1])
def test_nvdiffrast_equals_z_buffer(view, request):
    cameras, (points, faces) = wide_cameras(), two_balls()
    ours, alpha = fragments(points, faces, cameras, view), alpha_of(points, faces, cameras, view)
    request.getfixturevalue("library")
    theirs = fragments(points, faces, cameras, view)
    both = (ours.face >= 0) & (theirs.face >= 0)
    assert float((ours.face == theirs.face).float().mean()) > 0.97
    assert float(((ours.face >= 0) == (theirs.face >= 0)).float().mean()) > 0.99
    # Depths use the exact vertex positions, not the rounded ones. At the silhouette of the small
    # ball, rounding may show the big ball instead.
    assert float(((ours.depth - theirs.depth)[both].abs() < 0.02).float().mean()) > 0.98
    assert torch.isinf(theirs.depth[theirs.face < 0]).all()
    assert theirs.barycentrics.min() >= 0
    assert torch.allclose(theirs.barycentrics.sum(-1)[theirs.face >= 0], torch.ones(()))
    assert (alpha_of(points, faces, cameras, view) - alpha).abs().mean() < 0.005


def test_triangles_at_the_camera_are_skipped_and_face_numbers_stay(library):
    cameras, (points, faces) = ring(1, 32), two_balls()
    eye = cameras.centers[0]
    near = torch.stack([eye, eye + 0.1, eye - 0.1])
    seen = fragments(
        torch.cat([near, points]), torch.cat([torch.tensor([[0, 1, 2]]), faces + 3]), cameras, 0
    )
    without = fragments(points, faces, cameras, 0)
    assert torch.equal(seen.face, torch.where(without.face >= 0, without.face + 1, -1))


def test_empty_mesh_is_all_background(library):
    seen = fragments(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), ring(1, 16), 0)
    assert (seen.face < 0).all() and torch.isinf(seen.depth).all()


def test_vertices_get_gradients(library):
    cameras, (points, faces) = ring(1, 48, elevation_deg=0.0), two_balls()
    points.requires_grad_()
    alpha_of(points, faces, cameras).sum().backward()
    assert torch.isfinite(points.grad).all() and points.grad.abs().max() > 0


@pytest.mark.gpu
def test_installed_nvdiffrast_equals_z_buffer_on_cuda(monkeypatch):
    pytest.importorskip("nvdiffrast")
    # If it does not work, the z-buffer would be compared with itself.
    assert visibility._nvdiffrast(torch.device("cuda")) is not None
    cameras, (points, faces) = ring(1, 256, elevation_deg=20.0).to("cuda"), two_balls()
    points, faces = points.cuda(), faces.cuda()
    theirs = fragments(points, faces, cameras, 0)
    monkeypatch.setattr(visibility, "_nvdiffrast", lambda device: None)
    ours = fragments(points, faces, cameras, 0)
    assert float((ours.face == theirs.face).float().mean()) > 0.98
