"""The LoRA with the camera: it starts as the prior, learns given images, and leaves no trace."""

import dataclasses
import math
import threading

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.priors.adapter import LoraModel, LoraSettings
from gs3d.priors.adapter.camera import camera_features
from gs3d.priors.adapter.opened import opened, projections
from gs3d.priors.base import Condition
from gs3d.priors.builtin_512 import Builtin512
from tests.conftest import write_tiny_sd
from tests.priors.families.tiny import write_tiny_flux, write_tiny_if, write_tiny_pixart
from tests.priors.tiny import write_tiny_sd3, write_tiny_xl

SETTINGS = LoraSettings(rank=2, rate=1e-2, steps=1, camera_dropout=0.0, target="network")
WRITERS = {
    "v": lambda folder: write_tiny_sd(folder, "v_prediction"),
    "sd3": lambda folder: write_tiny_sd3(folder, t5=False),
    "xl": write_tiny_xl,
    "pixart": write_tiny_pixart,
    "if": write_tiny_if,
}
OTHERS = [pytest.param(kind, marks=pytest.mark.thorough) for kind in (*WRITERS, "flux")]
KINDS = ("builtin", "builtin-512", "eps", *OTHERS)


def lively(folder):
    """The prior in `folder`, untrained, whose gates of attention are not zero."""
    prior = load(folder, "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, weight in prior.network.backbone.named_parameters():
            if "norm" in name and name.endswith("linear.weight"):
                torch.nn.init.normal_(weight, std=0.1)
    return prior


@pytest.fixture(scope="module")
def small(tiny_builtin_folder):
    """A prior like the built-in one."""
    return lively(tiny_builtin_folder)


@pytest.fixture(scope="module")
def prior_of(tmp_path_factory, small, tiny_sd):
    """Name in KINDS -> prior."""
    made = {"builtin": small, "builtin-512": Builtin512(small), "eps": tiny_sd}

    def prior_of(kind):
        if kind not in made:
            write = WRITERS.get(kind, write_tiny_flux)
            made[kind] = load(write(tmp_path_factory.mktemp(kind) / "model"), "cpu")
        return made[kind]

    return prior_of


def inputs(prior, batch=4, size=None):
    """z, σ, condition and cameras. The tiny network behind builtin-512 is smaller than its own."""
    channels, side, _ = prior.latent_shape
    side = 32 if isinstance(prior, Builtin512) else side
    z = torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(1))
    text = prior.embed(["a red car"] * batch)
    cameras = ring(batch, 64)
    return z, torch.full((batch,), prior.sigma(0.4)), Condition(text, text), cameras


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_the_prior_and_learns_given_images(prior_of, kind):
    prior = prior_of(kind)
    z, sigma, condition, cameras = inputs(prior)
    before = prior.denoise(z, sigma, condition.text)
    weights = [p.clone() for p in opened(prior, "x").network.backbone.parameters()]
    model = LoraModel(prior, SETTINGS, 0, "x")
    assert torch.equal(model.denoise(z, sigma, condition.text, cameras), before)
    assert torch.equal(prior.denoise(z, sigma, condition.text), before)
    z0 = 0.3 * z.flip(0)
    noisy = z0 + sigma[:, None, None, None] * torch.randn(z.shape)

    def error():
        found = model.denoise(noisy, sigma, condition.text, cameras)
        return float((found - z0).square().mean())

    first = error()
    losses = [model.train(condition, z0, cameras, 0, step)["lora_loss"] for step in range(40)]
    assert all(map(math.isfinite, losses)) and error() < 0.98 * first
    # The prior itself computes what it did, to the bit, and has learned nothing.
    assert torch.equal(prior.denoise(z, sigma, condition.text), before)
    backbone = opened(prior, "x").network.backbone
    assert all(map(torch.equal, weights, backbone.parameters()))
    assert all(p.grad is None for p in backbone.parameters())
    assert not any(module._forward_hooks for module in backbone.modules())


def test_it_learns_each_camera_its_own_image(small):
    # All texts are equal: only the camera tells the bright images from the dark ones.
    z, sigma, condition, cameras = inputs(small)
    z0 = torch.tensor([0.1, -0.1, 0.1, -0.1])[:, None, None, None].expand_as(z)
    model = LoraModel(small, SETTINGS, 0, "x")
    for step in range(150):
        model.train(condition, z0, cameras, 0, step)
    levels = torch.full((4,), 3.0)
    means = model.denoise(3 * z, levels, condition.text, cameras).mean((1, 2, 3))
    assert means[::2].min() > 0.01 and means[1::2].max() < -0.01
    # Without the camera it has learned nothing that could tell them apart.
    blind = LoraModel(small, dataclasses.replace(SETTINGS, camera_dropout=1.0), 0, "x")
    for step in range(50):
        blind.train(condition, z0, cameras, 0, step)
    same = 3 * z[:1].expand_as(z)
    means = blind.denoise(same, levels, condition.text, cameras[[0, 0, 0, 0]]).mean((1, 2, 3))
    assert means.max() - means.min() < 1e-4


@pytest.mark.parametrize("kind", ["builtin", "builtin-512", "eps", "v", "sd3"])
@pytest.mark.parametrize("target", ["network", "epsilon", "v"])
def test_loss_is_that_of_the_target(prior_of, kind, target):
    """Computed by hand from D: the target of the network is what it would have to predict."""
    prior = prior_of(kind)
    z, _, condition, cameras = inputs(prior)
    model = LoraModel(prior, dataclasses.replace(SETTINGS, target=target), 0, "x")
    seen = []
    denoise = model._prior.denoise
    object.__setattr__(
        model._prior, "denoise", lambda *a: seen.append((a, denoise(*a))) or seen[-1][1]
    )
    try:
        loss = model.train(condition, 0.5 * z, cameras, 0, 3)["lora_loss"]
    finally:
        object.__delattr__(model._prior, "denoise")
    (noisy, sigma, _), denoised = seen[0]
    s = sigma[:, None, None, None]
    noise, d, z0 = (noisy - 0.5 * z) / s, denoised.detach(), 0.5 * z
    alpha = 1 / (1 + s**2).sqrt()
    if target == "epsilon":
        difference = (noisy - d) / s - noise
    elif target == "v":
        v = [alpha * n - s * alpha * x for x, n in ((d, (noisy - d) / s), (z0, noise))]
        difference = v[0] - v[1]
    elif kind in ("eps", "v"):
        difference = (d - z0) / s if kind == "eps" else (d - z0) / (s * alpha)
    elif kind == "sd3":
        difference = ((noisy - d) / s - d) - (noise - z0)  # u = n − x
    else:
        data = prior.network.scaling.sigma_data
        s = s / 2 if kind == "builtin-512" else s
        x, clean, end = (a / 2 if kind == "builtin-512" else a for a in (noisy, z0, d))
        skip, out = data**2 / (s**2 + data**2), s * data / (s**2 + data**2).sqrt()
        difference = (end - skip * x) / out - (clean - skip * x) / out
    assert loss == pytest.approx(float(difference.square().mean()), rel=2e-3)


def test_rows_at_once_change_nothing(tiny_sd):
    z, sigma, condition, cameras = inputs(tiny_sd)
    found = {}
    for rows in (None, 2, 1):
        model = LoraModel(tiny_sd, dataclasses.replace(SETTINGS, steps=3), 0, "x")
        model.rows = rows
        loss = model.train(condition, z, cameras, 0, 0)["lora_loss"]
        found[rows] = (loss, model.denoise(z, sigma, condition.text, cameras))
    for rows in (2, 1):
        assert found[rows][0] == pytest.approx(found[None][0], rel=1e-5)
        # With torch 2.7 the largest difference is 2e-5.
        torch.testing.assert_close(found[rows][1], found[None][1], atol=3e-5, rtol=1e-4)


def test_restored_state_goes_on_to_the_bit(tiny_sd):
    z, sigma, condition, cameras = inputs(tiny_sd)

    def trained(model, steps):
        for step in steps:
            model.train(condition, z, cameras, 0, step)
        return model

    whole = trained(LoraModel(tiny_sd, SETTINGS, 0, "x"), range(6))
    half = trained(LoraModel(tiny_sd, SETTINGS, 0, "x"), range(3))
    saved = {name: value.clone() for name, value in half.state_tensors().items()}
    restored = LoraModel(tiny_sd, SETTINGS, 5, "x")
    restored.load(saved)
    trained(restored, range(3, 6))
    expected, state = whole.state_tensors(), restored.state_tensors()
    assert expected.keys() == state.keys()
    assert all(torch.equal(expected[name], state[name]) for name in expected)
    # A fresh state is restored as one: AdamW has no moments then.
    fresh = LoraModel(tiny_sd, SETTINGS, 0, "x").state_tensors()
    restored.load(fresh)
    assert restored.state_tensors().keys() == fresh.keys()
    with pytest.raises(UserError, match="x: the LoRA in the checkpoint has other layers"):
        LoraModel(tiny_sd, dataclasses.replace(SETTINGS, rank=3), 0, "x").load(saved)


@pytest.mark.parametrize("fault", ["nan", "error"])
def test_fault_in_a_later_step_changes_nothing(tiny_sd, monkeypatch, fault):
    z, _, condition, cameras = inputs(tiny_sd)
    model = LoraModel(tiny_sd, dataclasses.replace(SETTINGS, steps=3), 0, "x")
    model.train(condition, z, cameras, 0, 0)
    before = {name: value.clone() for name, value in model.state_tensors().items()}
    real, calls = model._gradients, []

    def spoiled(*arguments):
        calls.append(arguments)
        if len(calls) == 2 and fault == "error":
            raise MemoryError
        loss, gradients = real(*arguments)
        gradients[0] *= float("nan") if len(calls) == 2 else 1.0
        return loss, gradients

    monkeypatch.setattr(model, "_gradients", spoiled)
    if fault == "error":
        with pytest.raises(MemoryError):
            model.train(condition, z, cameras, 0, 1)
    else:
        assert math.isnan(model.train(condition, z, cameras, 0, 1)["lora_loss"])
    after = model.state_tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_other_threads_use_the_network_as_it_was(small):
    z, sigma, condition, cameras = inputs(small)
    before = small.denoise(z, sigma, condition.text)
    model = LoraModel(small, SETTINGS, 0, "x")
    for step in range(3):
        model.train(condition, z, cameras, 0, step)
    found = []
    with model.adapter.active(camera_features(cameras)), torch.no_grad():
        here = small.denoise(z, sigma, condition.text)
        thread = threading.Thread(
            target=lambda: found.append(small.denoise(z, sigma, condition.text))
        )
        thread.start()
        thread.join()
    assert torch.equal(found[0], before) and not torch.equal(here, before)


def test_weights_in_half_precision_learn_too(tiny_builtin_folder):
    prior = lively(tiny_builtin_folder)
    prior.network.backbone.to(torch.bfloat16)
    z, sigma, condition, cameras = inputs(prior)
    model = LoraModel(prior, SETTINGS, 0, "x")
    assert model.train(condition, z, cameras, 0, 0)["lora_loss"] > 0
    changed = list(model.adapter.up.values())
    assert all(p.dtype == torch.float32 for p in changed)
    # All but that for the queries of the text in the last block, whose text nothing reads.
    assert sum(bool(p.abs().max() > 0) for p in changed) == len(changed) - 1
    assert model.denoise(z, sigma, condition.text, cameras).dtype == torch.float32


def test_camera_features_are_those_of_the_ring():
    features = camera_features(ring(4, 64, elevation_deg=30.0, fovy_deg=40.0, fill=0.9))
    half = math.radians(20)
    expected = [math.sin(math.radians(30)), math.cos(math.radians(30))]
    expected += [-math.log(0.9 * math.sin(half)), math.log(math.tan(half))]
    torch.testing.assert_close(features[:, 2:], torch.tensor(expected).expand(4, -1))
    turns = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    torch.testing.assert_close(features[:, :2], turns, atol=1e-6, rtol=0)


def test_every_attention_layer_is_found(prior_of):
    # Two blocks: the first attends to pixels and text together, the last one has no text after it.
    names = list(projections(prior_of("builtin").network.backbone))
    assert len(names) == 8 + 7 and "transformer_blocks.0.attn.to_out.0" in names
    names = list(projections(prior_of("eps").network.backbone))
    assert len(names) % 4 == 0 and any("attn2.to_k" in name for name in names)


def refused(prior, rank=2) -> str:
    with pytest.raises(UserError) as caught:
        LoraModel(prior, dataclasses.replace(SETTINGS, rank=rank), 0, "--guidance vsd")
    text = caught.value.for_command_line
    assert "\n" not in text and text.startswith("--guidance vsd: ")
    return text


def test_priors_that_cannot_have_one_are_refused(tiny_sd, tiny_sd_folder, tiny_multiview_folder):
    class OwnPrior:
        name, views, network = "mine", 1, "a network of some other kind"

    assert "the prior mine has no network of diffusers" in refused(OwnPrior())
    assert "denoises 4 views together" in refused(load(tiny_multiview_folder, "cpu"))
    assert "leave `compile` out" in refused(load(tiny_sd_folder, "cpu", compiled=True))
    assert "lora_rank: expected at most 16, the width of the layer " in refused(tiny_sd, 17)


def test_network_without_attention_is_refused(tiny_sd):
    network = dataclasses.replace(tiny_sd.network, backbone=torch.nn.Linear(2, 2))
    prior = dataclasses.replace(tiny_sd, network=network)
    assert "the network Linear has no attention or time embedding that gs3d knows" in refused(prior)
