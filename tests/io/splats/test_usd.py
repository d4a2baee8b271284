"""Splats as OpenUSD text: what the file says to the letter, the frame, and that OpenUSD itself reads it where it is installed."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.splats.usd import write_usd
from gs3d.raster.reference import rotations, sh_basis


def random_splats(count: int = 50, degree: int = 0, seed: int = 0) -> Splats:
    gen = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    scales, opacities = (normal(count, 3) - 4).exp(), normal(count).mul(2).sigmoid()
    return Splats(
        0.5 * normal(count, 3),
        normal(count, 4),
        scales,
        opacities,
        0.3 * normal(count, (degree + 1) ** 2, 3),
    )


def attribute(path, name, width):
    """Rows [N, width] of an array in the text."""
    (found,) = re.findall(rf"^    \w+\[\] {name} = \[(.*)\]$", path.read_text(), re.M)
    return torch.tensor([float(x) for x in re.sub("[(), ]+", " ", found).split()]).reshape(
        -1, width
    )


def test_a_known_splat_to_the_letter(tmp_path):
    """No rotation in the file is the turn of its axes in the world. The extent reaches three deviations along each axis."""
    splats = Splats(
        torch.tensor([[0.25, 0.5, 1.0]]),
        torch.tensor([[0.5, 0.5, 0.5, 0.5]]),
        torch.tensor([[0.125, 0.25, 0.5]]),
        torch.tensor([0.75]),
        torch.tensor([[[0.0, 1.0, -9.0]]]),
    )
    write_usd(tmp_path / "a.usda", splats)
    text = (tmp_path / "a.usda").read_text()
    assert re.sub(r"-?1?e-\d\d|-?\d\.\d+e-\d+", "0", text).replace("-0,", "0,").replace(
        "-0)", "0)"
    ) == (
        '#usda 1.0\n(\n    defaultPrim = "splats"\n    metersPerUnit = 1\n    upAxis = "Y"\n)\n\n'
        'def ParticleField3DGaussianSplat "splats"\n{\n'
        "    float3[] extent = [(0.125, 0.25, -1.25), (0.875, 1.75, 1.75)]\n"
        "    point3f[] positions = [(0.5, 1, 0.25)]\n"
        "    quatf[] orientations = [(1, 0, 0, 0)]\n"
        "    float3[] scales = [(0.125, 0.25, 0.5)]\n"
        "    float[] opacities = [0.75]\n"
        "    uniform int radiance:sphericalHarmonicsDegree = 0\n"
        "    float3[] radiance:sphericalHarmonicsCoefficients = [(0, 1, -9)]\n"
        "}\n"
    )


def test_file_axes(tmp_path):
    """Front, left and top lie on +Z, +X and +Y: upright, and not mirrored."""
    write_usd(tmp_path / "a.usda", replace(random_splats(3), means=torch.eye(3)))
    assert attribute(tmp_path / "a.usda", "positions", 3).tolist() == [
        [0, 0, 1],
        [1, 0, 0],
        [0, 1, 0],
    ]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_every_number_comes_back_from_the_text(tmp_path, degree):
    """5000 rows are more than one block of text."""
    splats, k = random_splats(5000, degree), (degree + 1) ** 2
    save_splats(tmp_path / "a.usda", splats)
    means, sh = (
        attribute(tmp_path / "a.usda", *what)
        for what in (("positions", 3), ("radiance:sphericalHarmonicsCoefficients", 3))
    )
    assert torch.equal(means[:, [2, 0, 1]], splats.means) and sh.shape == (5000 * k, 3)
    assert torch.equal(attribute(tmp_path / "a.usda", "scales", 3), splats.scales)
    assert torch.equal(attribute(tmp_path / "a.usda", "opacities", 1)[:, 0], splats.opacities)
    axes = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert torch.allclose(
        rotations(attribute(tmp_path / "a.usda", "orientations", 4)),
        axes @ rotations(splats.quats),
        atol=1e-5,
    )
    world = torch.nn.functional.normalize(
        torch.randn(5, 3, generator=torch.Generator().manual_seed(5)), dim=1
    )
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, k), splats.sh)
    got = torch.einsum("dk,nkc->ndc", sh_basis(world[:, [1, 2, 0]], k), sh.reshape(5000, k, 3))
    assert torch.allclose(got, expected, atol=1e-5)


def test_openusd_reads_it_and_knows_the_type(tmp_path):
    pxr = pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    if pxr.Usd.GetVersion() < (0, 26, 3):
        pytest.skip("this OpenUSD has no Gaussian splats")
    write_usd(tmp_path / "a.usda", random_splats(20, 2))
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    prim = stage.GetDefaultPrim()
    assert prim.GetTypeName() == "ParticleField3DGaussianSplat" and prim.IsA("ParticleField")
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    known = Usd.SchemaRegistry().FindConcretePrimDefinition("ParticleField3DGaussianSplat")
    for attribute_ in prim.GetAuthoredAttributes():
        spec = known.GetSchemaAttributeSpec(attribute_.GetName())
        assert (
            spec
            and spec.typeName == attribute_.GetTypeName()
            and spec.variability == attribute_.GetVariability()
        )
    sizes = {
        a.GetName(): len(a.Get()) for a in prim.GetAuthoredAttributes() if a.GetTypeName().isArray
    }
    assert (
        sizes.pop("extent") == 2 and sizes.pop("radiance:sphericalHarmonicsCoefficients") == 20 * 9
    )
    assert sizes == dict.fromkeys(("positions", "orientations", "scales", "opacities"), 20)
    quats = prim.GetAttribute("orientations").Get()
    assert np.allclose(
        [quats[0].GetReal()], attribute(tmp_path / "a.usda", "orientations", 4)[0, 0]
    )


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (
            replace(random_splats(9), sh=torch.full((9, 1, 3), float("inf"))),
            "9 of 9 splats hold NaN",
        ),
        (replace(random_splats(9), scales=torch.full((9, 3), -3.0)), "Are they logarithms"),
    ],
)
def test_bad_splats_are_not_written(tmp_path, splats, message):
    (tmp_path / "a.usda").write_bytes(b"old")
    with pytest.raises(UserError, match=message):
        write_usd(tmp_path / "a.usda", splats)
    assert (tmp_path / "a.usda").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_text_that_changes_on_disk_is_noticed_and_there_is_no_reader(tmp_path, monkeypatch):
    from gs3d.io.splats import usd

    write_usd(tmp_path / "a.usda", random_splats())
    with pytest.raises(UserError, match="cannot read .*a.usda: .usda is written, not read"):
        load_splats(tmp_path / "a.usda")
    monkeypatch.setattr(usd, "_checksum", lambda path: 0)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_usd(tmp_path / "b.usda", random_splats())
    assert [p.name for p in tmp_path.iterdir()] == ["a.usda"]
