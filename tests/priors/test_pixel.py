"""`PixelPrior` in the built-in layout, saved as by training and loaded as by a user."""

import pytest
import torch

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.pretraining import prior as fit_prior
from gs3d.priors import builtin, load
from gs3d.priors.images import to_network
from gs3d.priors.loading import components
from gs3d.priors.pixel import PixelPrior


def test_shapes(tiny_builtin):
    assert isinstance(tiny_builtin, PixelPrior)
    assert (tiny_builtin.image_size, tiny_builtin.latent_shape) == (32, (3, 32, 32))
    assert tiny_builtin.embed(["a red car", ""]).shape == (2, builtin.MAX_TOKENS, 96)


def test_padding_positions_hold_pooled_text(tiny_builtin):
    text = tiny_builtin.text
    ids = text.tokenizer(["a red car"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        plain = text.model(ids).last_hidden_state[0]
    states = tiny_builtin.embed(["a red car"])[0]
    real = 5  # [BOS], three words, [EOS]
    torch.testing.assert_close(states[:real], plain[:real])
    torch.testing.assert_close(
        states[real:], (plain[:real].sum(0) / real**0.5).expand(len(states) - real, -1)
    )
    # The last position holds the pooled text, even if the text leaves no room for padding.
    full = tiny_builtin.embed(["red car " * 30])[0]
    assert full[-1].norm() > 1.5 * full[:-1].norm(dim=1).max()
    # Another word changes the pooled text; only the words' own states depend on their order.
    red, blue = tiny_builtin.embed(["a red car", "a blue car"])[:, -1]
    assert (red - blue).norm() > 0.1 * red.norm()


def test_padding_is_kept_without_sum_at_padding(tiny_sd):
    text = tiny_sd.text
    ids = text.tokenizer(
        ["a red car"], padding="max_length", max_length=text.max_tokens, return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        torch.testing.assert_close(tiny_sd.embed(["a red car"]), text.model(ids).last_hidden_state)


def test_decode_inverts_encode(tiny_builtin):
    rgb = torch.rand(3, 32, 32, 3, generator=rng.generator(0, "pictures"))
    z = tiny_builtin.encode(rgb)
    assert z.shape == (3, 3, 32, 32) and z.dtype == torch.float32
    torch.testing.assert_close(z.flatten(1).norm(dim=1), (2 * rgb - 1).flatten(1).norm(dim=1))
    torch.testing.assert_close(tiny_builtin.decode(z), rgb)
    assert float(tiny_builtin.decode(10 * z).max()) == 1.0


@pytest.mark.parametrize("size", [16, 32, 48, 96])
def test_gradient_through_encode(tiny_builtin, size):
    rgb = torch.rand(2, size, size, 3, requires_grad=True)
    tiny_builtin.encode(rgb).sum().backward()
    # The resize weights of each output pixel sum to 1, and 2x − 1 doubles the gradient.
    assert float(rgb.grad.sum()) == pytest.approx(2 * rgb.numel() * (32 / size) ** 2, rel=1e-3)
    # One element in thousands can cancel to 0 by rounding.
    assert float((rgb.grad != 0).float().mean()) > 0.99


def test_downsampling_is_antialiased():
    """A one-pixel checkerboard becomes gray, not stripes."""
    squares = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()
    board = squares[None, :, :, None].expand(1, -1, -1, 3)
    assert float(to_network(board, 16)[:, :, 2:-2, 2:-2].abs().max()) < 0.05


def test_non_square_images_are_refused(tiny_builtin):
    with pytest.raises(ValueError) as error:
        tiny_builtin.encode(torch.zeros(1, 32, 48, 3))
    assert str(error.value) == "encode: expected square images [B, H, H, 3], got [1, 32, 48, 3]"


def test_denoise_matches_training_model(tiny_builtin, tiny_builtin_folder):
    """Same weights and tokens in the class used for training give the same result."""
    source = components.Source("again", tiny_builtin_folder)
    parts = components.read(source, torch.device("cpu"), torch.float32, torch.float32)
    trainer = fit_prior.Denoiser(parts.backbone, parts.text.model)
    prompts = ["a red mushroom with white spots, front view", ""]
    tokens = parts.text.tokenizer(
        prompts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    sigma = torch.tensor([0.05, 3.0])
    z = rng.normal((2, 3, 32, 32), 0, "z")
    with torch.no_grad():
        expected = trainer(z, sigma, tokens)
    got = tiny_builtin.denoise(z, sigma, tiny_builtin.embed(prompts))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(got, z, atol=1e-2)


def test_saving_rounds_to_float16_only(tmp_path):
    from gs3d.world.captions import vocabulary_texts

    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone, text_encoder = builtin.new_backbone(), builtin.new_text_encoder(tokenizer)
    builtin.save(tmp_path / "model", backbone, text_encoder, tokenizer)
    assert next(backbone.parameters()).dtype == torch.float32  # `save` leaves the model unchanged
    prior = load(tmp_path / "model", "cpu")
    assert prior.latent_shape == (3, 64, 64) and prior.image_size == builtin.IMAGE_SIZE
    tokens = tokenizer(["a blue car"], padding="max_length", return_tensors="pt").input_ids
    z, sigma = rng.normal((1, 3, 64, 64), 0, "z"), torch.tensor([0.7])
    with torch.no_grad():
        expected = fit_prior.Denoiser(backbone, text_encoder).eval()(z, sigma, tokens)
    got = prior.denoise(z, sigma, prior.embed(["a blue car"]))
    assert float((got - expected).norm() / expected.norm()) < 2e-3


def test_denoise_returns_float32_without_gradient(tiny_builtin):
    z = torch.randn(1, 3, 32, 32, requires_grad=True)
    out = tiny_builtin.denoise(
        z, torch.tensor([1.0], dtype=torch.float64), tiny_builtin.embed(["a car"])
    )
    assert out.dtype == torch.float32 and not out.requires_grad


def test_weights_are_frozen(tiny_builtin):
    models = (tiny_builtin.network.backbone, tiny_builtin.text.model)
    assert not any(p.requires_grad for model in models for p in model.parameters())
    assert not any(model.training for model in models)


def test_other_channel_counts_are_refused(tiny_builtin):
    config = {"in_channels": 9, "out_channels": 9, "sample_size": 16}
    parts = components.Components(
        source=components.Source("odd", tiny_builtin.source.folder),
        backbone=type("Network", (), {"config": config}),
        vae=None,
        text=tiny_builtin.text,
        scaling=tiny_builtin.network.scaling,
    )
    with pytest.raises(UserError) as error:
        PixelPrior.of(parts)
    assert str(error.value) == (
        "prior odd: expected a model without a VAE to have 3 channels in, 3 out and a square size, "
        "got 9 in, 9 out, size 16; use another model"
    )
