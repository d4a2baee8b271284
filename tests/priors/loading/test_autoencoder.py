"""A replacement autoencoder: loading it, and the messages for one that does not fit."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from gs3d.priors import describe, load
from gs3d.priors.loading.autoencoder import resolve_autoencoder
from tests.priors.cache import SHA, put_in_cache
from tests.priors.loading.helpers import (
    WEIGHTS,
    gradient,
    images,
    message,
    scale_weights,
    write_tiny_autoencoder,
)


def test_replacement_encodes_and_decodes(tiny_sd_folder, tiny_autoencoder):
    prior, rgb = load(tiny_sd_folder, "cpu", vae=str(tiny_autoencoder)), images()
    assert (prior.image_size, prior.latent_shape, prior.latent_scale) == (16, (4, 8, 8), 1.0)
    z = prior.encode(rgb)
    torch.testing.assert_close(z, prior.vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latents)
    assert gradient(prior).abs().sum() > 0 and prior.decode(z.detach()).shape == (2, 16, 16, 3)
    assert describe(prior)["vae"] == str(tiny_autoencoder)
    assert "vae" not in describe(load(tiny_sd_folder, "cpu"))


def test_autoencoder_of_another_model(tiny_sd_folder, tmp_path):
    """In the folder of a complete model, the autoencoder is in vae/."""
    other = shutil.copytree(tiny_sd_folder, tmp_path / "other")
    scale_weights(other / "vae")
    z = load(tiny_sd_folder, "cpu", vae=str(other)).encode(images())
    torch.testing.assert_close(z, load(other, "cpu").encode(images()))
    assert not torch.allclose(z, load(tiny_sd_folder, "cpu").encode(images()))


@pytest.mark.parametrize("path", [".", "small/", "../models/small"])
def test_relative_paths(path, tiny_sd_folder, tmp_path, monkeypatch):
    """The parent folder holds another autoencoder, which must not be loaded."""
    folder = write_tiny_autoencoder(tmp_path / "models" / "small")
    write_tiny_autoencoder(tmp_path / "models")
    scale_weights(tmp_path / "models")
    monkeypatch.chdir(folder if path == "." else tmp_path / "models")
    expected = load_file(folder / WEIGHTS)["encoder.layers.0.weight"]
    vae = load(tiny_sd_folder, "cpu", vae=path).vae
    assert torch.equal(vae.encoder.layers[0].weight, expected)


@pytest.fixture
def refused(tiny_sd_folder):
    """Message of the `UserError` for a replacement autoencoder."""

    def load_with(vae, prior=tiny_sd_folder, **options):
        return message(lambda: load(prior, "cpu", vae=str(vae), **options))

    return load_with


def test_invalid_names_are_refused(refused):
    for name in ("taesf", ""):
        assert refused(name) == f"vae {name}: expected taesd, a hub id owner/name, or a folder"
    assert refused("a/b..c").startswith("vae a/b..c: not a valid hub id (")


def test_pixel_prior_takes_no_autoencoder(refused, tiny_builtin_folder, tiny_autoencoder):
    assert refused(tiny_autoencoder, tiny_builtin_folder).endswith(
        "works on pixels and has no autoencoder; remove `vae` from the config"
    )


def test_other_networks_are_refused(refused, tiny_sd_folder, tmp_path):
    unet = tiny_sd_folder / "unet"
    assert refused(unet) == (
        f"vae {unet}: expected AutoencoderKL or AutoencoderTiny of diffusers, "
        "got UNet2DConditionModel; use another folder or name"
    )
    (empty := tmp_path / "empty").mkdir()
    assert "of diffusers, got no config.json with a class name; " in refused(empty)


def test_unsuitable_autoencoders_are_refused(refused, tiny_sd_folder, tiny_autoencoder, tmp_path):
    three = write_tiny_autoencoder(tmp_path / "three", channels=3)
    assert refused(three) == (
        f"vae {three}: its latents have 3 channels, but the prior {tiny_sd_folder} takes 4; "
        "remove `vae` from the config, or use an autoencoder trained for the latents of this prior"
    )
    assert refused(tiny_autoencoder, checkpoint_encoder=True).startswith(
        "checkpoint_encoder: not supported with an AutoencoderTiny"
    )


def test_damaged_weights_are_refused(refused, tiny_autoencoder):
    (tiny_autoencoder / WEIGHTS).write_bytes(b"no weights")
    assert refused(tiny_autoencoder).startswith(f"vae {tiny_autoencoder}: {WEIGHTS} is no saf")
    (tiny_autoencoder / WEIGHTS).unlink()
    assert refused(tiny_autoencoder) == (
        f"vae {tiny_autoencoder} has no .safetensors weights; "
        "download the model again with its safetensors files"
    )


def test_autoencoder_is_downloaded_once(
    tiny_autoencoder, tiny_sd_folder, hub_cache, monkeypatch, capsys
):
    requests = []
    online = {
        "madebyollin/taesd": tiny_autoencoder,
        "someone/unet": tiny_sd_folder / "unet",
        "someone/nothing": hub_cache.parent,
        "someone/model": tiny_sd_folder,
    }

    def model_info(repo, timeout, files_metadata):
        requests.append(repo)
        files = [SimpleNamespace(rfilename=f.name, size=None) for f in online[repo].iterdir()]
        return SimpleNamespace(siblings=files)

    def hf_hub_download(repo, file, etag_timeout):
        return str(online[repo] / file)

    def snapshot_download(repo, allow_patterns, etag_timeout):
        assert sorted(allow_patterns) == ["config.json", WEIGHTS]
        return str(put_in_cache(hub_cache, repo, online[repo]))

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    line = message(lambda: resolve_autoencoder("taesd", offline=True))
    assert "and downloads are turned off" in line
    for _ in range(2):
        found = resolve_autoencoder("taesd")
        assert (found.repo, found.folder.name) == ("madebyollin/taesd", SHA)
        assert requests == ["madebyollin/taesd"]
    assert capsys.readouterr().err.count("downloading madebyollin/taesd, once, to ") == 1
    for repo, reason in (
        ("someone/unet", "contains UNet2DConditionModel, not AutoencoderKL or AutoencoderTiny"),
        ("someone/model", "contains a complete model; pass a folder with a copy of its vae/"),
        ("someone/nothing", "contains no diffusers network with safetensors weights"),
    ):
        assert f"{repo} ({reason})" in message(lambda repo=repo: resolve_autoencoder(repo))
