""".usda: exact text, coordinate system, and reading by OpenUSD if it is installed."""

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
from tests.io.splats.samples import assert_not_written, random_directions, random_splats


def read_attribute(path, name: str, width: int) -> torch.Tensor:
    """The rows [N, width] of an array in the text."""
    (found,) = re.findall(rf"^    \w+\[\] {name} = \[(.*)\]$", path.read_text(), re.M)
    numbers = [float(x) for x in re.sub("[(), ]+", " ", found).split()]
    return torch.tensor(numbers).reshape(-1, width)


def test_text_of_a_known_splat(tmp_path):
    """The rotation is the identity in the file. The extent is three standard deviations."""
    splats = Splats(
        torch.tensor([[0.25, 0.5, 1.0]]),
        torch.tensor([[0.5, 0.5, 0.5, 0.5]]),
        torch.tensor([[0.125, 0.25, 0.5]]),
        torch.tensor([0.75]),
        torch.tensor([[[0.0, 1.0, -9.0]]]),
    )
    write_usd(tmp_path / "a.usda", splats)
    text = (tmp_path / "a.usda").read_text()
    # Rounding errors of the rotation become 0.
    text = re.sub(r"-?1?e-\d\d|-?\d\.\d+e-\d+", "0", text)
    text = text.replace("-0,", "0,").replace("-0)", "0)")
    assert text == (
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
    """Front +Z, left +X, up +Y: upright and not mirrored."""
    write_usd(tmp_path / "a.usda", replace(random_splats(3), means=torch.eye(3)))
    positions = read_attribute(tmp_path / "a.usda", "positions", 3)
    assert positions.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_text_preserves_every_number(tmp_path, degree):
    """5000 rows are more than one block of text."""
    splats, k = random_splats(5000, degree), (degree + 1) ** 2
    path = tmp_path / "a.usda"
    save_splats(path, splats)
    means = read_attribute(path, "positions", 3)
    sh = read_attribute(path, "radiance:sphericalHarmonicsCoefficients", 3)
    assert torch.equal(means[:, [2, 0, 1]], splats.means) and sh.shape == (5000 * k, 3)
    assert torch.equal(read_attribute(path, "scales", 3), splats.scales)
    assert torch.equal(read_attribute(path, "opacities", 1)[:, 0], splats.opacities)
    world_to_file = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    in_file = rotations(read_attribute(path, "orientations", 4))
    assert torch.allclose(in_file, world_to_file @ rotations(splats.quats), atol=1e-5)
    world = random_directions(5, seed=5).float()
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, k), splats.sh)
    got = torch.einsum("dk,nkc->ndc", sh_basis(world[:, [1, 2, 0]], k), sh.reshape(5000, k, 3))
    assert torch.allclose(got, expected, atol=1e-5)


def test_openusd_reads_the_file_and_knows_the_type(tmp_path):
    pxr = pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    if pxr.Usd.GetVersion() < (0, 26, 3):
        pytest.skip("this OpenUSD has no Gaussian splats")
    write_usd(tmp_path / "a.usda", random_splats(20, 2))
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    prim = stage.GetDefaultPrim()
    assert prim.GetTypeName() == "ParticleField3DGaussianSplat" and prim.IsA("ParticleField")
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    schema = Usd.SchemaRegistry().FindConcretePrimDefinition("ParticleField3DGaussianSplat")
    attributes = prim.GetAuthoredAttributes()
    for attribute in attributes:
        spec = schema.GetSchemaAttributeSpec(attribute.GetName())
        assert spec and spec.typeName == attribute.GetTypeName()
        assert spec.variability == attribute.GetVariability()
    arrays = [attribute for attribute in attributes if attribute.GetTypeName().isArray]
    sizes = {array.GetName(): len(array.Get()) for array in arrays}
    assert sizes.pop("extent") == 2
    assert sizes.pop("radiance:sphericalHarmonicsCoefficients") == 20 * 9
    assert sizes == dict.fromkeys(("positions", "orientations", "scales", "opacities"), 20)
    quats = prim.GetAttribute("orientations").Get()
    w = read_attribute(tmp_path / "a.usda", "orientations", 4)[0, 0]
    assert np.allclose([quats[0].GetReal()], w)


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
def test_invalid_splats_are_not_written(tmp_path, splats, message):
    assert_not_written(tmp_path / "a.usda", message, lambda path: write_usd(path, splats))


def test_there_is_no_reader(tmp_path):
    with pytest.raises(UserError, match="cannot read .*a.usda: .usda is written, not read"):
        load_splats(tmp_path / "a.usda")


def test_text_that_changes_on_disk_is_detected(tmp_path, monkeypatch):
    from gs3d.io.splats import usd

    monkeypatch.setattr(usd, "_checksum", lambda path: 0)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_usd(tmp_path / "a.usda", random_splats())
    assert not list(tmp_path.iterdir())
