"""The built-in prior as a training module: output, loss, and warm start from another model."""

import pytest
import torch

from gs3d.pretraining import denoiser
from gs3d.priors import builtin
from gs3d.world.captions import vocabulary_texts


def new_denoiser(tokenizer, image_size=64, **architecture):
    """An untrained model for the vocabulary of `tokenizer`."""
    return denoiser.Denoiser(
        builtin.new_backbone(image_size, **architecture), builtin.new_text_encoder(tokenizer)
    )


def test_untrained_network_returns_the_skip_connection():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    model = new_denoiser(tokenizer)
    z, sigma = torch.randn(2, 3, 64, 64), torch.tensor([0.1, 3.0])
    tokens = tokenizer(["a red car"] * 2, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        denoised = model(z, sigma, tokens)
    skip = builtin.SIGMA_DATA**2 / (builtin.SIGMA_DATA**2 + sigma**2)
    torch.testing.assert_close(denoised, skip[:, None, None, None] * z)


def test_loss_of_mid_gray_is_one_at_high_noise_and_bounded_at_low_noise():
    z0, zeros = builtin.DATA_STD * torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)

    def loss(sigma):
        return float(
            denoiser.loss_of(lambda z, sigma, tokens: zeros, z0, torch.tensor([sigma]), zeros, None)
        )

    assert loss(50.0) == pytest.approx(1, abs=1e-3)
    assert loss(0.5) == pytest.approx(0.25 * (4 + 1 / (0.25 + builtin.SIGMA_DATA**2)))
    assert loss(1e-4) == pytest.approx(0.25 * (4 + 1 / builtin.SIGMA_DATA**2), rel=1e-3)


def test_warm_start_keeps_the_function_with_more_words_and_tokens(tmp_path):
    # An older model that lacks some words.
    words = [text for text in vocabulary_texts() if "left" not in text]
    old_tokenizer = builtin.new_tokenizer(words, max_tokens=16)
    old = new_denoiser(old_tokenizer)
    torch.nn.init.normal_(old.backbone.proj_out.weight, std=0.1)  # initialized with zeros
    builtin.save(tmp_path / "old", old.backbone, old.text_encoder, old_tokenizer)
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    new = new_denoiser(tokenizer)
    denoiser.begin_from(new, tokenizer, tmp_path / "old")
    z, sigma, text = torch.randn(1, 3, 64, 64), torch.ones(1), "a red car, front view"
    old.eval(), new.eval()
    with torch.no_grad():
        tokens = [
            t([text], padding="max_length", return_tensors="pt").input_ids
            for t in (old_tokenizer, tokenizer)
        ]
        hidden = [
            m.text_encoder(t).last_hidden_state for m, t in zip((old, new), tokens, strict=True)
        ]
        # The saved weights are rounded to float16.
        torch.testing.assert_close(hidden[1][:, :16], hidden[0], atol=0.02, rtol=0.02)
        assert hidden[1].shape[1] == builtin.MAX_TOKENS > 16
        a, b = old(z, sigma, tokens[0]), new(z, sigma, tokens[1])
    assert (a - b).norm() < 0.1 * a.norm()


def test_warm_start_from_another_scaling_raises(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    model = new_denoiser(tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "SIGMA_DATA", 0.5)
        builtin.save(tmp_path, model.backbone, model.text_encoder, tokenizer)
    with pytest.raises(ValueError, match="incompatible model: it was trained with another scaling"):
        denoiser.begin_from(model, tokenizer, tmp_path)


def test_prior_of_four_views_starts_from_one_of_single_images(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    single = new_denoiser(tokenizer)
    torch.nn.init.normal_(single.backbone.proj_out.weight, std=0.1)
    builtin.save(tmp_path / "single", single.backbone, single.text_encoder, tokenizer)
    four = new_denoiser(tokenizer, 128)
    denoiser.begin_from(four, tokenizer, tmp_path / "single")
    for name, weight in four.backbone.named_parameters():
        torch.testing.assert_close(
            weight, single.backbone.get_parameter(name), atol=2e-3, rtol=2e-3
        )
    # The first quarter of the grid has the positions of a single image.
    of_grid, of_single = (
        m.backbone.pos_embed.cropped_pos_embed(s, s).reshape(s // 8, s // 8, -1)
        for m, s in ((four, 128), (single, 64))
    )
    torch.testing.assert_close(of_grid[:8, :8], of_single, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="incompatible model: another network architecture"):
        denoiser.begin_from(new_denoiser(tokenizer, layers=6), tokenizer, tmp_path / "single")
