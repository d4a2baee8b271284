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


def with_a_row_of_nan(rows):
    rows["x"][3] = np.nan


def with_a_scale_of_zero(rows):
    rows["scale_1"][3] = 0


def with_a_far_splat(rows):
    rows["x"][3] = 1e4


@pytest.mark.parametrize("change", [with_a_row_of_nan, with_a_scale_of_zero, with_a_far_splat])
def test_a_few_odd_rows_do_not_hide_scales_in_place_of_logarithms(tmp_path, change):
    rows, expected = valid_ply_rows(tmp_path, count=200)
    for i in range(3):
        rows[f"scale_{i}"] = np.exp(rows[f"scale_{i}"])
    change(rows)
    write_foreign_ply(tmp_path / "a.ply", rows)
    with pytest.warns(UserWarning) as caught:
        back = read_ply(tmp_path / "a.ply")
    assert any("taken as scales, not logarithms" in str(w.message) for w in caught)
    assert all(isinstance(w.message, UserWarning) for w in caught)
    assert torch.allclose(back.scales[10:], expected.scales[-len(back) :][10:], rtol=1e-5)


def test_flat_splats_may_have_scales_in_place_of_logarithms(tmp_path):
    rows, expected = valid_ply_rows(tmp_path, count=40)
    names = [name for name in rows.dtype.names if name != "scale_2"]
    flat = np.zeros(40, [(name, "<f4") for name in names])
    for name in names:
        flat[name] = np.exp(rows[name]) if name.startswith("scale") else rows[name]
    write_foreign_ply(tmp_path / "a.ply", flat)
    with pytest.warns(OtherForm, match="taken as scales, not logarithms"):
        back = read_ply(tmp_path / "a.ply")
    assert torch.allclose(back.scales[:, :2], expected.scales[:, :2], rtol=1e-5)
    assert (back.scales[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("opacities", "probabilities"),
    [
        (np.linspace(0.1, 0.95, 200), True),
        (np.linspace(0.3, 1.0000001, 200), True),
        (np.full(200, 0.6), False),
        (np.linspace(0.1, 0.55, 200), False),
        (np.append(np.linspace(0.1, 0.95, 199), -2.0), False),
        (np.append(np.linspace(0.1, 0.95, 199), np.inf), False),
        (np.linspace(0.1, 0.95, 60), False),
    ],
)
def test_what_counts_as_opacities(tmp_path, opacities, probabilities):
    rows, _ = valid_ply_rows(tmp_path, count=len(opacities))
    rows["opacity"] = opacities
    write_foreign_ply(tmp_path / "a.ply", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OtherForm)
        back = read_ply(tmp_path / "a.ply").opacities.double().numpy()
    expected = opacities.clip(0, 1) if probabilities else 1 / (1 + np.exp(-opacities))
    assert np.allclose(back, expected, atol=1e-6)


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


def write_as_is(path, monkeypatch, count=30, **changes):
    """Write splats with values that a writer would refuse."""
    from dataclasses import replace

    from gs3d.io.splats import gltf, splat

    splats = random_splats(count)
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


def normal(mean, deviation, count):
    gen = torch.Generator().manual_seed(1)
    return mean + deviation * torch.randn(count, 3, generator=gen)


@pytest.mark.parametrize("deviation", [0.6, 1.0, 3.0])
def test_logarithms_of_large_splats_pass_through_zero(tmp_path, monkeypatch, deviation):
    logs = normal(1.0, deviation, 400)
    write_as_is(tmp_path / "a.glb", monkeypatch, 400, scales=lambda _: logs)
    with pytest.warns(OtherForm, match="taken as logarithms"):
        back = load_splats(tmp_path / "a.glb")
    assert torch.allclose(back.scales, logs.exp(), rtol=1e-5)


@pytest.mark.parametrize(
    "scales",
    [
        # Any sign may have strayed, or those of the smallest.
        normal(-4, 1, 400).exp() * torch.sign(normal(1.3, 1, 400)),
        normal(2, 1, 400).exp() * torch.sign(normal(1.3, 1, 400)),
        0.02 + normal(0, 0.01, 400),
        # Three values are too few to tell.
        torch.cat([normal(2, 0.3, 133), torch.tensor([[-0.1, -0.1, -0.1]])]),
        torch.tensor([[0.3, 0.2, -0.01], [2.0, -0.1, 1.0]]),
    ],
)
def test_scales_whose_sign_strayed_are_no_logarithms(tmp_path, monkeypatch, scales):
    write_as_is(tmp_path / "a.glb", monkeypatch, len(scales), scales=lambda _: scales)
    with pytest.warns(OtherForm, match="its sign is left out"):
        back = load_splats(tmp_path / "a.glb")
    assert torch.equal(back.scales, scales.abs())


@pytest.mark.parametrize(
    ("opacities", "line"),
    [
        (torch.tensor([1.01, 0.5, 0.5, 0.5, 0.5]), "1 of 5 opacities lie outside"),
        (torch.tensor([3.0, -2.0, 0.5]), "2 of 3 opacities lie outside"),
        (torch.linspace(0, 1.04, 200), "of 200 opacities lie outside"),
        (torch.linspace(0.9, 1.04, 200), "of 200 opacities lie outside"),
        (torch.linspace(0, 1.0009, 200), None),
    ],
)
def test_opacities_near_0_to_1_are_no_logits(tmp_path, monkeypatch, opacities, line):
    write_as_is(tmp_path / "a.glb", monkeypatch, len(opacities), opacities=lambda _: opacities)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        back = load_splats(tmp_path / "a.glb")
    assert torch.equal(back.opacities, opacities.clamp(0, 1))
    assert len(caught) == bool(line) and all(line in str(w.message) for w in caught)
