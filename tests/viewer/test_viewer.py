"""The viewer without a browser: data that is sent, and effects of its controls."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.core.types import Splats
from gs3d.raster.reference import rotations
from gs3d.representations.meshing.fusion import mesh_of_splats
from tests.viewer.common import sphere_splats


def covariances(splats: Splats) -> np.ndarray:
    axes = rotations(splats.quats) * splats.scales[:, None]
    return (axes @ axes.mT).numpy()


def close_to(got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    return np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


def test_sent_splats_equal_the_original_to_rounding(viewer):
    from gs3d.viewer.scene import UNITS

    splats = sphere_splats()
    viewer.show(splats, "")
    node = viewer._node
    assert node.scale == pytest.approx(1 / UNITS)
    assert np.allclose(node.centers / UNITS, splats.means, atol=1e-6)
    assert close_to(node.covariances / UNITS**2, covariances(splats), 1e-3)
    colors = (0.5 + 0.28209479 * splats.sh[:, 0]).clamp(0, 1).numpy()
    assert np.abs(node.rgbs / 255 - colors).max() <= 0.51 / 255
    assert np.abs(node.opacities[:, 0] / 255 - splats.opacities.numpy()).max() <= 0.51 / 255


def test_sliders_scale_opacities_and_sizes_of_sent_splats(viewer):
    from gs3d.viewer.scene import UNITS

    splats = sphere_splats()
    viewer.show(splats, "")
    viewer.opacity.value = 0.5
    opacities = viewer._node.opacities[:, 0] / 255
    assert np.abs(opacities - 0.5 * splats.opacities.numpy()).max() <= 0.51 / 255
    viewer.size.value = 2.0
    assert close_to(viewer._node.covariances / UNITS**2, 4 * covariances(splats), 1e-3)
    # The sliders keep their positions, and the new splats replace the old ones.
    viewer.show(sphere_splats(70), "more")
    assert len(viewer._node.centers) == 70 and viewer.about.content == "more"
    assert close_to(viewer._node.covariances / UNITS**2, 4 * covariances(sphere_splats(70)), 1e-3)


def test_huge_splats_stay_finite(viewer):
    splats = sphere_splats()
    splats.scales[0] = 1e6
    viewer.size.value = 2.0
    viewer.show(splats, "")
    assert np.isfinite(viewer._node.covariances).all()


def test_splats_elsewhere_or_of_another_size_are_moved_into_the_unit_sphere():
    pytest.importorskip("viser")
    from gs3d.ops.place import WORLD, place_of
    from gs3d.viewer.scene import UNITS, gaussians_of

    assert place_of(sphere_splats()) is WORLD
    for splats in (
        sphere_splats(spread=50, center=(400, -30, 7)),
        sphere_splats(spread=0.001),
        sphere_splats(1, spread=9.0),
    ):
        place = place_of(splats)
        gaussians = gaussians_of(splats, place)
        assert place is not WORLD
        assert 0.0 <= np.linalg.norm(gaussians.centers, axis=1).max() <= 1.001 * UNITS
        center = (gaussians.centers.max(0) + gaussians.centers.min(0)) / 2
        assert np.abs(center).max() < 0.02 * UNITS


def test_a_mesh_replaces_splats(viewer):
    viewer.show(sphere_splats(), "")
    assert viewer.opacity.visible and viewer.size.visible
    viewer.show(mesh_of_splats(sphere_splats(400), 500, 24).textured(32), "")
    node = viewer._node
    assert node.glb_data[:4] == b"glTF" and not viewer.opacity.visible and not viewer.size.visible
    rotation = rotations(torch.from_numpy(np.asarray(node.wxyz))[None])[0].numpy()
    # glTF's up and front become those of the world.
    assert np.allclose(rotation @ (0, 1, 0), (0, 0, 1))
    assert np.allclose(rotation @ (0, 0, 1), (1, 0, 0))
    viewer.opacity.value = 0.3  # has no effect on meshes
    viewer.show(sphere_splats(), "")
    assert len(viewer._node.centers) == 50 and viewer.opacity.visible


def test_a_new_name_changes_the_panel_label(viewer, monkeypatch):
    labels = []
    monkeypatch.setattr(viewer.server.gui, "set_panel_label", labels.append)
    for name in (None, "sphere", "more", "more"):
        viewer.show(sphere_splats(), "", name)
    assert labels == ["more"] and viewer.name == "more"


def test_presets_move_the_camera_of_the_calling_client(viewer):
    expected = {"front": (1, 0), "right": (0, -1), "back": (-1, 0), "left": (0, 1), "above": (0, 0)}
    assert np.allclose(viewer.server.initial_camera.position, gs3d.ring(1, 8).centers[0])
    for name, (x, y) in expected.items():
        client = SimpleNamespace(camera=SimpleNamespace(), atomic=contextlib.nullcontext)
        viewer._apply_preset(SimpleNamespace(client=client, target=SimpleNamespace(value=name)))
        position = client.camera.position / np.linalg.norm(client.camera.position)
        radius = np.cos(np.radians(0 if name == "above" else 15))
        assert np.allclose(position[:2], np.multiply(radius, (x, y)), atol=2e-3)
        assert not np.any(client.camera.look_at)
    assert position[2] > 0.99 and position[0] > 0  # so the back of the object is at the top


def test_presets_of_a_scene_look_out_of_its_middle():
    pytest.importorskip("viser")
    from gs3d.core.views.inside import around
    from gs3d.viewer.scene import viewpoint

    cameras = around(4, 8)
    for index, preset in enumerate(("front", "left", "back", "right")):
        position, look_at = viewpoint(preset, inside=True)
        assert not position.any()
        ahead = cameras.world_to_camera[index, 2, :3].numpy()
        assert np.allclose(look_at / np.linalg.norm(look_at), ahead, atol=1e-6)
    assert viewpoint("above", inside=True)[1][2] > 0.99 * np.linalg.norm(look_at)


def test_background_and_saved_image(viewer, monkeypatch):
    backgrounds = []
    monkeypatch.setattr(
        viewer.server.scene,
        "set_background_image",
        lambda image, format: backgrounds.append((image, format)),
    )
    viewer.background.value = (10, 200, 30)
    assert (backgrounds[0][0] == (10, 200, 30)).all() and backgrounds[0][1] == "png"

    image = np.random.default_rng(0).integers(0, 255, (6, 8, 4), np.uint8)
    files, notes = {}, []
    client = SimpleNamespace(
        camera=SimpleNamespace(image_height=6, image_width=8),
        get_render=lambda height, width, transport_format, timeout: image,
        send_file_download=lambda name, data, save_immediately: files.update({name: data}),
        add_notification=lambda title, body: notes.append(body),
    )
    viewer._save_image(SimpleNamespace(client=client))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files["sphere.png"]))), image[..., :3])

    def disconnected(*_, **__):
        raise RuntimeError("the client disconnected")

    client.get_render = disconnected
    viewer._save_image(SimpleNamespace(client=client))
    assert notes == ["the client disconnected"] and len(files) == 1


def test_frusta_match_the_cameras(viewer):
    cameras = gs3d.ring(8, 64)
    viewer.add_frusta("Cameras", [cameras[:3], cameras[3:]])
    assert not any(frustum.visible for frustum in viewer.frusta)
    viewer.shows_frusta.value = True
    assert all(frustum.visible for frustum in viewer.frusta)
    for frustum, center in zip(viewer.frusta, cameras.centers.numpy(), strict=True):
        assert np.allclose(frustum.position, center, atol=1e-5)
        assert frustum.fov == pytest.approx(np.radians(38))
