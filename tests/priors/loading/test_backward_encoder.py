"""`vae_backward`: latents of the prior's own autoencoder, with the gradient of another."""

import dataclasses

import pytest
import torch
import yaml

from gs3d.distill.memory.micro_batches import in_micro_batches
from gs3d.distill.settings.config import load_config
from gs3d.experiments.methods import Method
from gs3d.priors import describe, load
from gs3d.priors.files.contents import sha256_of
from gs3d.priors.latent import BackwardEncoder, LatentPrior
from gs3d.priors.loading.components import Source
from gs3d.runs.execute import execute
from gs3d.runs.planning.vram import fitted_to_card
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.priors.loading.helpers import (
    WEIGHTS,
    edit_config,
    gradient,
    images,
    message,
    scale_weights,
    write_tiny_autoencoder,
)


@pytest.fixture
def both(tiny_sd_folder, tiny_autoencoder) -> LatentPrior:
    return load(tiny_sd_folder, "cpu", vae_backward=str(tiny_autoencoder))


@pytest.mark.parametrize("size", [8, 16])
def test_latents_are_exact_and_gradients_those_of_the_other(
    both, tiny_sd, tiny_sd_folder, tiny_autoencoder, size
):
    """On the same gradient of the latents, bit for bit."""
    other = load(tiny_sd_folder, "cpu", vae=str(tiny_autoencoder))
    upstream = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    found = []
    for prior in (both, other, tiny_sd):
        rgb = images(size)
        z = prior.encode(rgb)
        z.backward(upstream)
        found.append((z.detach(), rgb.grad))
    (z, g), (other_z, other_g), (exact_z, exact_g) = found
    assert torch.equal(z, exact_z) and not torch.allclose(z, other_z)
    assert torch.equal(g, other_g) and not torch.allclose(g, exact_g)
    with torch.no_grad():
        assert torch.equal(both.encode(images(size)), exact_z)


def test_each_autoencoder_has_its_own_scale(tiny_sd, tiny_sd_folder, tiny_autoencoder):
    """TAESD's latents are scaled already, those of an AutoencoderKL by its scaling_factor."""
    upstream = torch.ones(2, 4, 8, 8)

    def pulled(prior):
        rgb = images()
        prior.encode(rgb).backward(upstream)
        return rgb.grad

    itself = load(tiny_sd_folder, "cpu", vae_backward=str(tiny_sd_folder))
    assert itself.backward.scale == 0.18215
    torch.testing.assert_close(pulled(itself), pulled(tiny_sd), rtol=0, atol=0)
    once = load(tiny_sd_folder, "cpu", vae_backward=str(tiny_autoencoder))
    x = images()
    once.backward.vae.encode(2 * x.permute(0, 3, 1, 2) - 1).latents.backward(upstream)
    assert once.backward.scale == 1.0
    torch.testing.assert_close(pulled(once), x.grad, rtol=0, atol=0)
    edit_config(tiny_autoencoder / "config.json", scaling_factor=3.0)
    thrice = load(tiny_sd_folder, "cpu", vae_backward=str(tiny_autoencoder))
    torch.testing.assert_close(pulled(thrice), 3 * x.grad)


def test_own_encoder_keeps_nothing_and_runs_once_in_micro_batches(both):
    """The backward pass computes the small encoder again, and not the large one."""
    calls = []
    for name, vae in (("own", both.vae), ("other", both.backward.vae)):
        vae.encoder.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    whole = gradient(both)
    assert sorted(calls) == ["other", "own"]
    calls.clear()
    rgb = images()
    z = in_micro_batches(both, 2, 1).encode(rgb)
    assert sorted(calls) == ["other", "other", "own", "own"]
    z.square().sum().backward()
    assert sorted(calls) == ["other", "other", "other", "own", "own"]
    torch.testing.assert_close(rgb.grad, whole)


def kept_bytes(prior: LatentPrior, batch: int) -> int:
    """Bytes that an encoding of 512² images keeps for the backward pass, weights not counted."""
    rgb = torch.rand(batch, 512, 512, 3, device="meta", requires_grad=True)
    vaes = [prior.vae, *([prior.backward.vae] if prior.backward else [])]
    weights = {p.untyped_storage()._cdata for vae in vaes for p in vae.parameters()}
    kept = {}

    def pack(x):
        storage = x.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no other gets its address
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        prior.encode(rgb)
    return sum(storage.nbytes() for storage in kept.values())


def test_memory_at_the_size_of_stable_diffusion():
    """Sizes alone, on tensors without data: autoencoders of Stable Diffusion and TAESD."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    channels = (128, 256, 512, 512)
    with torch.device("meta"):
        own = AutoencoderKL(
            block_out_channels=channels,
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        tiny = AutoencoderTiny()
    for vae in (own, tiny):
        vae.to(torch.bfloat16).requires_grad_(False)
    exact = LatentPrior(None, None, None, own, 512, (4, 64, 64), 0.18215, 0.0)
    small = dataclasses.replace(exact, backward=BackwardEncoder(tiny, 1.0))
    before, after = (kept_bytes(prior, batch=1) / 1e9 for prior in (exact, small))
    assert before == pytest.approx(1.66, abs=0.1) and after == pytest.approx(0.25, abs=0.02)


def test_run_records_it_and_resumes_with_the_same_weights(
    tiny_sd_folder, tiny_autoencoder, tmp_path
):
    (config := tmp_path / "small.yaml").write_text(
        f"vae_backward: {tiny_autoencoder}\nbatch: 4\ncompile: false\n"
        "cameras: {resolution_px: {at: [0.0], values: [16]}}\n"
    )
    request = Request(
        "a car",
        steps=2,
        prior=str(tiny_sd_folder),
        out=tmp_path / "run",
        config=config,
        device="cpu",
    )

    def run(**changes):
        return execute(prepare(dataclasses.replace(request, **changes)))

    result = run()
    assert result.outcome == "finished" and not result.warnings
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    facts = record["prior"]
    assert facts["vae_backward"] == str(tiny_autoencoder) == record["config"]["vae_backward"]
    assert facts["vae_backward_sha256"] == sha256_of(tiny_autoencoder / WEIGHTS)
    assert "vae" not in facts
    assert run(steps=3, resume=True).steps == 3
    scale_weights(tiny_autoencoder)
    assert "other weights of its vae_backward" in message(lambda: run(steps=4, resume=True))


def test_autoencoder_that_a_resumed_run_recorded_is_not_added(tmp_path):
    """The settings then differ from those of that run, and `--resume` says so."""
    config = load_config("splats-15min", changes=["vae_backward=taesd"])
    recorded, source = {"vram": 8, "config": {"vae": "taesd"}}, Source("sd", tmp_path)
    fitted, _ = fitted_to_card(config, Request("a cat"), source, "cpu", recorded, [])
    assert fitted == config


def test_without_it_nothing_is_recorded(tiny_sd):
    assert tiny_sd.backward is None and "vae_backward" not in describe(tiny_sd)


def test_fingerprint(tmp_path, tiny_autoencoder):
    default = Method("sds").fingerprint("preview")
    assert Method.parse("sds,vae_backward=null").fingerprint("preview") == default
    changed = Method.parse(f"sds,vae_backward={tiny_autoencoder}")
    before = changed.fingerprint("preview")
    scale_weights(tiny_autoencoder)
    assert len({default, before, changed.fingerprint("preview")}) == 3


@pytest.fixture
def refused(tiny_sd_folder):
    """Message of the `UserError` for an encoder of the gradient."""

    def load_with(name, prior=tiny_sd_folder, **options):
        return message(lambda: load(prior, "cpu", vae_backward=str(name), **options))

    return load_with


def test_invalid_names_are_refused(refused, tiny_autoencoder, hub_cache, no_network):
    for name in ("taesf", ""):
        assert refused(name) == (
            f"vae_backward {name}: expected taesd, a hub id owner/name, or a folder"
        )
    file = tiny_autoencoder / WEIGHTS
    assert refused(file).startswith(f"vae_backward {file}: a file; expected a folder")
    line = refused("taesd", offline=True)
    assert line.startswith("vae_backward taesd: ") and "downloads are turned off" in line
    assert "Remove `vae_backward` from the config" in line and no_network == []


def test_unsuitable_encoders_are_refused(refused, tiny_sd_folder, tmp_path):
    for name, options in (("three", {"channels": 3}), ("four times", {"levels": 3})):
        folder = write_tiny_autoencoder(tmp_path / name, **options)
        line = refused(folder)
        channels, factor = options.get("channels", 4), 2 ** (options.get("levels", 2) - 1)
        assert line == (
            f"vae_backward {folder}: its latents have {channels} channels and are {factor} times "
            f"smaller than images, those of the prior {tiny_sd_folder} have 4 and are 2 times "
            "smaller; remove `vae_backward` from the config, or use an autoencoder trained for "
            "the latents of this prior"
        )
    unet = tiny_sd_folder / "unet"
    assert refused(unet).startswith(f"vae_backward {unet}: expected AutoencoderKL or ")


def test_damaged_encoders_are_refused(refused, tiny_autoencoder):
    what = f"vae_backward {tiny_autoencoder}"
    edit_config(tiny_autoencoder / "config.json", scaling_factor="much")
    assert refused(tiny_autoencoder).startswith(f"{what}: its scaling_factor is much; expected")
    (tiny_autoencoder / WEIGHTS).write_bytes(b"no weights")
    assert refused(tiny_autoencoder).startswith(f"{what}: {WEIGHTS} is no saf")


def test_other_settings_that_it_excludes(
    refused, tiny_autoencoder, tiny_builtin_folder, request, tmp_path
):
    line = refused(tiny_autoencoder, tiny_builtin_folder)
    assert line.endswith(
        "works on pixels and has no autoencoder; remove `vae_backward` from the config"
    )
    assert refused(tiny_autoencoder, vae="taesd") == (
        f"vae_backward {tiny_autoencoder}: expected no `vae` beside it, got taesd; "
        "use one of the two"
    )
    assert refused(tiny_autoencoder, checkpoint_encoder=True).startswith(
        "checkpoint_encoder: has no effect with vae_backward, "
    )
    assert refused(tiny_autoencoder, "builtin-512").endswith("leave `vae_backward` out")
    changes = ["vae=taesd", "vae_backward=taesd"]
    assert message(lambda: load_config("preview", changes=changes)).endswith(
        "vae_backward: expected null, because `vae` is set, got 'taesd'"
    )
    plan = Request("a car", prior="builtin-512", set=("vae_backward=taesd",), out=tmp_path / "r")
    assert message(lambda: prepare(plan)).startswith("config: vae_backward: only for a prior")
