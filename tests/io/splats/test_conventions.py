"""Values in another form than a format has them: logarithms, logits, probabilities."""

import warnings

import numpy as np
import pytest
import torch

from gs3d.io import load_splats, save_splats
from gs3d.io.splats.conventions import OtherForm
from gs3d.io.splats.ply import read_ply
from tests.io.splats.samples import close, random_splats, valid_ply_rows, write_foreign_ply


def read_quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_splats(path)


def test_opacities_in_place_of_logits_are_read_as_such(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, count=200)
    rows["opacity"] = np.linspace(0.01, 0.99, 200)
    write_foreign_ply(tmp_path / "a.ply", rows)
    with pytest.warns(OtherForm, match="taken as opacities, not as logits"):
        back = read_ply(tmp_path / "a.ply")
    assert close(back.opacities, torch.linspace(0.01, 0.99, 200))
    # Every format can be written from it, and read again without a guess.
    for suffix in (".ply", ".spz", ".compressed.ply", ".splat", ".glb"):
        save_splats(tmp_path / f"b{suffix}", back)
        assert torch.allclose(
            read_quietly(tmp_path / f"b{suffix}").opacities.sort().values,
            back.opacities.sort().values,
            atol=0.01,
        )


def test_scales_in_place_of_logarithms_are_read_as_such(tmp_path):
    rows, expected = valid_ply_rows(tmp_path, count=40)
    for i in range(3):
        rows[f"scale_{i}"] = np.exp(rows[f"scale_{i}"])
    write_foreign_ply(tmp_path / "a.ply", rows)
    with pytest.warns(OtherForm, match="taken as scales, not logarithms"):
        back = read_ply(tmp_path / "a.ply")
    assert torch.allclose(back.scales, expected.scales, rtol=1e-5)


def test_large_objects_have_positive_logarithms(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, count=40)
    for name in "xyz":
        rows[name] *= 1000
    for i in range(3):
        rows[f"scale_{i}"] += np.log(1000)
    write_foreign_ply(tmp_path / "a.ply", rows)
    assert min(rows[f"scale_{i}"].min() for i in range(3)) > 0
    assert read_quietly(tmp_path / "a.ply").scales.min() > 1


def test_own_files_are_never_guessed_about(tmp_path):
    splats = random_splats(200)
    logits = torch.linspace(0.001, 0.999, 200)
    splats = type(splats)(splats.means, splats.quats, splats.scales, logits.sigmoid(), splats.sh)
    with pytest.warns(UserWarning, match="was a sigmoid applied twice"):
        save_splats(tmp_path / "a.ply", splats)
    assert torch.allclose(read_quietly(tmp_path / "a.ply").opacities, splats.opacities, atol=1e-6)


def write_as_is(path, monkeypatch, **changes):
    """Write splats with values that a writer would refuse."""
    from dataclasses import replace

    from gs3d.io.splats import gltf, splat

    splats = random_splats(30)
    changed = replace(splats, **{k: f(getattr(splats, k)) for k, f in changes.items()})
    for module in (gltf, splat):
        monkeypatch.setattr(module, "to_file_coordinates", lambda *_: changed)
    save_splats(path, splats)
    monkeypatch.undo()
    return splats


@pytest.mark.parametrize("suffix", [".glb", ".splat"])
def test_logarithms_in_place_of_scales_are_read_as_such(tmp_path, monkeypatch, suffix):
    splats = write_as_is(tmp_path / f"a{suffix}", monkeypatch, scales=torch.log)
    with pytest.warns(OtherForm, match="taken as logarithms"):
        back = load_splats(tmp_path / f"a{suffix}")
    assert torch.allclose(back.scales.sort(0).values, splats.scales.sort(0).values, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".glb", ".splat"])
def test_the_sign_of_a_few_scales_is_left_out(tmp_path, monkeypatch, suffix):
    def negate(scales):
        return torch.cat([-scales[:2], scales[2:]])

    splats = write_as_is(tmp_path / f"a{suffix}", monkeypatch, scales=negate)
    with pytest.warns(OtherForm, match="2 of 30 splats have a negative scale"):
        back = load_splats(tmp_path / f"a{suffix}")
    assert torch.allclose(back.scales.sort(0).values, splats.scales.sort(0).values, rtol=1e-5)


def test_logits_in_place_of_opacities_are_read_as_such(tmp_path, monkeypatch):
    def logit(opacities):
        return 3 * torch.logit(opacities)

    splats = write_as_is(tmp_path / "a.glb", monkeypatch, opacities=logit)
    with pytest.warns(OtherForm, match="taken as logits"):
        back = load_splats(tmp_path / "a.glb")
    assert torch.allclose(back.opacities, logit(splats.opacities).sigmoid(), atol=1e-6)


def test_opacities_slightly_beyond_one_are_clipped_with_a_line(tmp_path, monkeypatch):
    def exceed(opacities):
        return torch.cat([torch.tensor([1.2, -0.1]), opacities[2:]])

    write_as_is(tmp_path / "a.glb", monkeypatch, opacities=exceed)
    with pytest.warns(OtherForm, match="2 of 30 opacities lie outside 0 to 1 and are clipped"):
        back = load_splats(tmp_path / "a.glb")
    assert back.opacities[:2].tolist() == [1, 0]
