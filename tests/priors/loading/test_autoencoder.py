"""Another autoencoder in the place of a prior's own, and networks that are compiled."""

import dataclasses
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.experiments.methods import Method
from gs3d.priors import describe, load
from gs3d.priors.loading.autoencoder import resolve_autoencoder
from gs3d.runs.generate import generate
from gs3d.runs.request import Request
from tests.priors.cache import SHA, put_in_cache

WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_small(folder, channels: int = 4):
    """An AutoencoderTiny of two levels, untrained."""
    from diffusers import AutoencoderTiny

    shape = {f"{side}_block_out_channels": (8, 8) for side in ("encoder", "decoder")} | {
        "num_encoder_blocks": (1, 1)
    }
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoencoderTiny(
            latent_channels=channels, num_decoder_blocks=(1, 1), **shape
        ).save_pretrained(folder)
    return folder


def louder(folder):
    """The same weights, each a little larger."""
    save_file(
        {name: 1.1 * w for name, w in load_file(folder / WEIGHTS).items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )


@pytest.fixture
def small(tmp_path):
    return write_small(tmp_path / "small")


def message(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def pictures(size: int = 16):
    return torch.rand(2, size, size, 3, generator=rng.generator(0, "pictures"), requires_grad=True)


def gradient(prior):
    rgb = pictures()
    prior.encode(rgb).square().sum().backward()
    return rgb.grad


def test_it_encodes_in_the_place_of_the_model_s_own(tiny_sd_folder, small):
    prior, rgb = load(tiny_sd_folder, "cpu", vae=str(small)), pictures()
    assert (prior.image_size, prior.latent_shape, prior.latent_scale) == (16, (4, 8, 8), 1.0)
    z = prior.encode(rgb)
    torch.testing.assert_close(z, prior.vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latents)
    assert gradient(prior).abs().sum() > 0 and prior.decode(z.detach()).shape == (2, 16, 16, 3)
    assert describe(prior)["vae"] == str(small) and "vae" not in describe(
        load(tiny_sd_folder, "cpu")
    )


def test_that_of_another_model(tiny_sd_folder, tmp_path):
    """A folder of a whole model has its autoencoder in vae/."""
    other = shutil.copytree(tiny_sd_folder, tmp_path / "other")
    louder(other / "vae")
    z = load(tiny_sd_folder, "cpu", vae=str(other)).encode(pictures())
    torch.testing.assert_close(z, load(other, "cpu").encode(pictures()))
    assert not torch.allclose(z, load(tiny_sd_folder, "cpu").encode(pictures()))


@pytest.mark.parametrize("where", [".", "small/", "../models/small"])
def test_folders_by_any_path(where, tiny_sd_folder, tmp_path, monkeypatch):
    """What lies in the folder above is another network's."""
    small = write_small(tmp_path / "models" / "small")
    write_small(tmp_path / "models")
    louder(tmp_path / "models")
    monkeypatch.chdir(small if where == "." else tmp_path / "models")
    expected = load_file(small / WEIGHTS)["encoder.layers.0.weight"]
    assert torch.equal(
        load(tiny_sd_folder, "cpu", vae=where).vae.encoder.layers[0].weight, expected
    )


def test_what_does_not_fit_is_refused(tiny_sd_folder, tiny_builtin_folder, small, tmp_path):
    def refused(vae, prior=tiny_sd_folder, **more):
        return message(lambda: load(prior, "cpu", vae=str(vae), **more))

    for name in ("taesf", ""):
        assert refused(name) == f"vae {name}: expected taesd, a hub id owner/name, or a folder"
    assert refused("a/b..c").startswith("vae a/b..c: can be no id of the hub (")
    assert refused(small, tiny_builtin_folder).endswith(
        "works on pixels and has no autoencoder; leave `vae` out of the config"
    )
    unet = tiny_sd_folder / "unet"
    assert (
        refused(unet)
        == f"vae {unet}: expected AutoencoderKL or AutoencoderTiny of diffusers, got UNet2DConditionModel"
    )
    (empty := tmp_path / "empty").mkdir()
    assert refused(empty).endswith("of diffusers, got no config.json that says which")
    three = write_small(tmp_path / "three", channels=3)
    assert refused(three) == (
        f"vae {three}: gives latents of 3 channels, and the prior {tiny_sd_folder} takes 4; "
        "leave `vae` out of the config, or name one that was trained for this prior's latents"
    )
    assert refused(small, checkpoint_encoder=True).startswith(
        "checkpoint_encoder: not with a tiny autoencoder"
    )
    (small / WEIGHTS).write_bytes(b"no weights")
    assert refused(small).startswith(f"vae {small}: cannot be loaded (")
    (small / WEIGHTS).unlink()
    assert (
        refused(small)
        == f"vae {small}: no .safetensors weights beside its config.json; download it again with them"
    )


def test_a_small_one_comes_from_the_hub_once(small, tiny_sd_folder, hub_cache, monkeypatch):
    asked, online = (
        [],
        {
            "madebyollin/taesd": small,
            "someone/unet": tiny_sd_folder / "unet",
            "someone/nothing": hub_cache.parent,
        },
    )

    def snapshot_download(repo, allow_patterns, etag_timeout):
        assert sorted(allow_patterns) == ["config.json", WEIGHTS]
        return str(put_in_cache(hub_cache, repo, online[repo]))

    def model_info(repo, timeout):
        asked.append(repo)
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=f.name) for f in online[repo].iterdir()]
        )

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda repo, file, etag_timeout: str(online[repo] / file),
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert "and offline was asked for" in message(
        lambda: resolve_autoencoder("taesd", offline=True)
    )
    for _ in range(2):
        found = resolve_autoencoder("taesd")
        assert (found.repo, found.folder.name, asked) == (
            "madebyollin/taesd",
            SHA,
            ["madebyollin/taesd"],
        )
    assert "someone/unet (holds UNet2DConditionModel, not AutoencoderKL or" in message(
        lambda: resolve_autoencoder("someone/unet")
    )
    online["someone/whole"] = tiny_sd_folder
    assert "someone/whole (holds a whole model; give a folder with a copy of its vae/)" in message(
        lambda: resolve_autoencoder("someone/whole")
    )
    assert "someone/nothing (holds no network of diffusers as safetensors)" in message(
        lambda: resolve_autoencoder("someone/nothing")
    )


@pytest.fixture
def asked(tiny_sd_folder, small, tmp_path):
    (config := tmp_path / "small.yaml").write_text(
        f"vae: {small}\nbatch: 4\ncameras: {{resolution_px: {{at: [0.0], values: [16]}}}}\n"
    )
    return Request(
        "a car",
        steps=2,
        prior=str(tiny_sd_folder),
        out=tmp_path / "run",
        config=config,
        device="cpu",
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_run_with_it(device, asked, small, request):
    card = request.getfixturevalue("card") if device == "cuda" else None
    result = generate(dataclasses.replace(asked, device=device))
    assert (
        result.outcome == "finished" and not result.warnings and (card is None or card.drawn >= 2)
    )
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prior"]["vae"] == str(small) == record["config"]["vae"]


def test_a_run_goes_on_with_the_same_weights_only(asked, small):
    generate(asked)
    again = dataclasses.replace(asked, steps=3, resume=True)
    assert generate(again).steps == 3
    louder(small)
    assert "other weights of its autoencoder" in message(
        lambda: generate(dataclasses.replace(again, steps=4))
    )


def test_a_run_goes_on_compiled_or_not(asked, monkeypatch):
    generate(asked)
    asked.config.write_text(asked.config.read_text() + "compile: true\n")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: None)
    assert generate(dataclasses.replace(asked, steps=3, resume=True)).steps == 3


def test_a_prior_without_one_does_not_ask_the_hub(
    asked, hub_cache, no_network, tiny_builtin_folder
):
    asked.config.write_text("vae: taesd\n")
    said = message(lambda: generate(dataclasses.replace(asked, prior=str(tiny_builtin_folder))))
    assert "works on pixels and has no autoencoder" in said and no_network == []


def test_an_evaluation_tells_autoencoders_apart(asked, small):
    """By their weights; runs from before there was a choice are those without."""
    base, method = str(asked.config), Method.parse("sds")
    before = method.fingerprint(base)
    louder(small)
    assert method.fingerprint(base) != before
    settings = Method("sds").settings("preview")
    assert settings["vae"] is None and settings["compile"] is False
    expected = [
        Method.parse(f"sds,{change}").fingerprint("preview")
        for change in ("vae=null", "compile=false")
    ]
    assert (
        expected
        == 2 * [Method("sds").fingerprint("preview")]
        != [Method.parse("sds,compile=true").fingerprint("preview")] * 2
    )


def test_a_misspelt_name_does_not_wait_for_a_download(asked, hub_cache, no_network):
    asked.config.write_text("vae: taesf\n")
    assert message(lambda: generate(dataclasses.replace(asked, prior="sd21-base"))).startswith(
        "vae taesf: "
    )
    assert no_network == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the CPU with g++")
def test_compiled_networks_say_the_same(tiny_sd_folder):
    from torch._dynamo.utils import counters

    prior, compiled = load(tiny_sd_folder, "cpu"), load(tiny_sd_folder, "cpu", compiled=True)
    z, text, sigma = (
        rng.normal((2, 4, 8, 8), 0, "z"),
        prior.embed(["a car", "a dog"]),
        torch.tensor([0.5, 3.0]),
    )
    counters.clear()
    torch.testing.assert_close(
        compiled.denoise(z, sigma, text), prior.denoise(z, sigma, text), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(gradient(compiled), gradient(prior), rtol=1e-3, atol=1e-4)
    graphs = counters["stats"]["unique_graphs"]
    compiled.encode(
        pictures(8)
    )  # a smaller picture is another layout, and no reason to compile again
    assert counters["stats"]["unique_graphs"] == graphs > 0


def test_what_cannot_be_compiled_is_one_line(asked, monkeypatch):
    from torch._inductor import config

    torch._dynamo.reset()
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    asked.config.write_text(asked.config.read_text() + "compile: true\n")
    try:
        assert "compile: torch cannot compile the networks here" in message(lambda: generate(asked))
    finally:
        torch._dynamo.reset()
