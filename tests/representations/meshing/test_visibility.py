"""What pixels see by nvdiffrast is what they see without it: here by a stand-in for the library's manual, on a card by the library."""

from types import SimpleNamespace

import pytest
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit, ring
from gs3d.representations.meshing import visibility
from gs3d.representations.meshing.triangles import fragments
from tests.representations.meshing.test_triangles import alpha_of, ball

SUBPIXELS = 16
"""To a part of a pixel of which the library rounds corners."""


def rasterize(context, pos, tri, resolution, grad_db):
    """pos [1, V, 4] in clip space, tri [F, 3] → [1, H, W, 4] with z / w and the triangle's number, from 1; its first row is at y = −1."""
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
    monkeypatch.setattr(
        visibility, "_nvdiffrast", lambda device: (SimpleNamespace(rasterize=rasterize), None)
    )


def two_balls():
    """One before the other, seen from +X, both off the middle and unlike in size: nothing about it is symmetrical."""
    big, faces = ball(10, 0.5, (-0.2, 0.2, 0.1))
    small, small_faces = ball(8, 0.2, (0.5, -0.1, 0.25))
    return torch.cat([big, small]), torch.cat([faces, small_faces + len(big)])


def wide() -> Cameras:
    """Two views of 56 × 40."""
    azimuth, elevation, fovy, fill = (
        torch.tensor([a, b]) for a, b in ((0.0, 2.1), (0.35, 0.2), (0.66, 0.7), (0.9, 0.9))
    )
    return orbit(azimuth, elevation, distance_for(fovy, fill), fovy, 56, 40)


@pytest.mark.parametrize("view", [0, 1])
def test_it_sees_what_is_seen_without_it(view, request):
    cameras, (points, faces) = wide(), two_balls()
    ours, alpha = fragments(points, faces, cameras, view), alpha_of(points, faces, cameras, view)
    request.getfixturevalue("library")
    theirs = fragments(points, faces, cameras, view)
    both = (ours.face >= 0) & (theirs.face >= 0)
    assert float((ours.face == theirs.face).float().mean()) > 0.97
    assert float(((ours.face >= 0) == (theirs.face >= 0)).float().mean()) > 0.99
    # Shares are of the corners as they are, not as they were rounded; where the small ball ends, rounding may show the big one.
    assert float(((ours.depth - theirs.depth)[both].abs() < 0.02).float().mean()) > 0.98
    assert torch.isinf(theirs.depth[theirs.face < 0]).all()
    assert theirs.corners.min() >= 0 and torch.allclose(
        theirs.corners.sum(-1)[theirs.face >= 0], torch.ones(())
    )
    assert (alpha_of(points, faces, cameras, view) - alpha).abs().mean() < 0.005


def test_triangles_at_the_camera_are_left_out_and_numbers_stay(library):
    cameras, (points, faces) = ring(1, 32), two_balls()
    eye = cameras.centers[0]
    near = torch.stack([eye, eye + 0.1, eye - 0.1])
    seen = fragments(
        torch.cat([near, points]), torch.cat([torch.tensor([[0, 1, 2]]), faces + 3]), cameras, 0
    )
    alone = fragments(points, faces, cameras, 0)
    assert torch.equal(seen.face, torch.where(alone.face >= 0, alone.face + 1, -1))


def test_nothing_to_see(library):
    seen = fragments(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long), ring(1, 16), 0)
    assert (seen.face < 0).all() and torch.isinf(seen.depth).all()


def test_a_gradient_reaches_the_corners(library):
    cameras, (points, faces) = ring(1, 48, elevation_deg=0.0), two_balls()
    points.requires_grad_()
    alpha_of(points, faces, cameras).sum().backward()
    assert torch.isfinite(points.grad).all() and points.grad.abs().max() > 0


@pytest.mark.gpu
def test_the_library_itself_sees_the_same_on_a_card(monkeypatch):
    pytest.importorskip("nvdiffrast")
    assert (
        visibility._nvdiffrast(torch.device("cuda")) is not None
    )  # else it is compared with itself
    cameras, (points, faces) = ring(1, 256, elevation_deg=20.0).to("cuda"), two_balls()
    points, faces = points.cuda(), faces.cuda()
    theirs = fragments(points, faces, cameras, 0)
    monkeypatch.setattr(visibility, "_nvdiffrast", lambda device: None)
    ours = fragments(points, faces, cameras, 0)
    assert float((ours.face == theirs.face).float().mean()) > 0.98
