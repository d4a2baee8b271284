"""Whole runs with tiny models of each family, as a user starts them."""

import dataclasses

import pytest
import torch
import yaml

from gs3d.core.schedules import Ramp
from gs3d.distill.settings.stages import SAMPLING_SCALE
from gs3d.guidance import Sds
from gs3d.priors import load
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests import fake_cuda
from tests.distill.settings.test_own_loss import TEXT as OWN_LOSS
from tests.priors.loading.helpers import write_tiny_autoencoder
from tests.priors.running import run


@pytest.mark.parametrize("name", ["sigma", "if", "dev"])
def test_run(tmp_path, folders, name):
    result = run(tmp_path, folders[name], "cpu")
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prior"]["name"] == str(folders[name])
    assert len(record["prior"]["weights_sha256"]) == 64


@pytest.mark.parametrize("name", [pytest.param("alpha", marks=pytest.mark.thorough), "if", "dev"])
def test_run_on_a_fake_card(tmp_path, folders, name, monkeypatch):
    """Tensors of two devices in one operation are refused there, and the networks are in half
    precision."""
    with fake_cuda.install(monkeypatch) as card:
        run(tmp_path, folders[name], "cuda")
    assert card.landed > 100


@pytest.mark.parametrize("name", ["sigma", "dev"])
def test_replacement_autoencoder_and_checkpointing(folders, tmp_path, name):
    checkpointed, plain = (
        load(folders[name], "cpu", checkpoint_encoder=value) for value in (True, False)
    )
    rgb = torch.full((1, 16, 16, 3), 0.3)
    assert checkpointed.vae.encoder.gradient_checkpointing
    torch.testing.assert_close(checkpointed.encode(rgb), plain.encode(rgb))
    small = write_tiny_autoencoder(tmp_path / "small", plain.latent_shape[0])
    prior = load(folders[name], "cpu", vae=str(small))
    assert type(prior.vae).__name__ == "AutoencoderTiny"
    assert prior.encode(rgb).shape == (1, *prior.latent_shape)


@pytest.mark.parametrize("name", ["sigma", "if", "dev"])
def test_text_on_the_cpu(folders, name):
    """T5 is in bfloat16 then; the text is the same but for rounding."""
    prior, other = (load(folders[name], "cpu", text_on_cpu=value) for value in (False, True))
    got, want = (p.embed(["a red car"]) for p in (other, prior))
    assert float((got - want).norm() / want.norm()) < 2e-2


@pytest.mark.parametrize("name", ["if", "sigma"])
@pytest.mark.parametrize("mode", ["splats", "mesh"])
def test_presets_are_those_of_large_models_with_renders_that_the_prior_sees(
    tmp_path, folders, name, mode
):
    """A model on pixels that knows photographs does not get the presets of the built-in prior."""

    def config_with(*changes):
        request = Request(
            "a corgi",
            steps=2,
            prior=str(folders[name]),
            out=tmp_path / "run",
            device="cpu",
            mode=mode,
            set=changes,
        )
        return prepare(request).config

    size = load(str(folders[name]), device="cpu").image_size
    config = config_with()
    assert {type(stage.guidance).__name__ for stage in config.stages} == {"Cds"}
    sizes = [px for stage in config.stages for px in stage.cameras.resolution_px.values]
    assert max(sizes) == 2 * size
    asked = config_with("cameras.resolution_px={at: [0.0], values: [200]}")
    assert {stage.cameras.resolution_px.values for stage in asked.stages} == {(200,)}


OWN_SCALE = "cfg: gs3d.core.schedules.Ramp = gs3d.core.schedules.Ramp(30, 30)"


def test_guidance_of_a_preset_fits_the_family(tmp_path, folders):
    def cfg(name, *changes, **options):
        prior, out = str(folders[name]), tmp_path / "run"
        request = Request("a corgi", steps=2, prior=prior, out=out, device="cpu", **options)
        (stage,) = prepare(dataclasses.replace(request, set=changes)).config.stages
        return stage.guidance.cfg.ends

    assert cfg("sigma") == (20.0, 12.0)
    # Never below the scale of sampling.
    assert cfg("if") == (SAMPLING_SCALE, SAMPLING_SCALE)
    assert cfg("if", guidance="sds") == (20.0, 20.0)
    # The usual scales of sampling, and csd's weight, were not chosen for Stable Diffusion.
    assert cfg("if", guidance="ism") == (7.5, 7.5)
    assert cfg("if", guidance="csd") == (1.0, 1.0)
    # What the user chooses stays.
    assert cfg("if", "losses.cds.cfg.start=30") == (30.0, 12.0)
    assert cfg("if", guidance=Sds(cfg=Ramp(30.0, 30.0))) == (30.0, 30.0)
    assert cfg("if", config="splats-15min") == (20.0, 12.0)
    # A loss of the user's own begins with the preset's, unless it has another.
    for field, scales in (("more: float = 1.0", (7.5, 7.5)), (OWN_SCALE, (30.0, 30.0))):
        (tmp_path / "mine.py").write_text(OWN_LOSS.format(field=field, base="Distillation"))
        assert cfg("if", guidance=f"{tmp_path}/mine.py:Mine") == scales
