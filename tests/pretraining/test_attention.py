"""The attention that replaces torch's in training on a CPU."""

import pytest
import torch
from torch.nn import functional

from gs3d.pretraining import attention
from gs3d.pretraining.attention import attend, plain_attention
from gs3d.pretraining.denoiser import Denoiser
from gs3d.priors import builtin

CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "boolean mask": {
        "attn_mask": torch.tensor([True, True, False, True, True, False, True]).expand(2, 1, 7, 7)
    },
    "additive mask": {"attn_mask": torch.linspace(-2, 2, 49).view(7, 7)},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_values_and_gradients_equal_those_of_torch(options):
    gen = torch.Generator().manual_seed(0)
    ours = [torch.randn(2, 3, 7, 5, generator=gen).requires_grad_() for _ in range(3)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    weights = torch.randn(2, 3, 7, 5, generator=gen)
    a, b = attend(*ours, **options), functional.scaled_dot_product_attention(*theirs, **options)
    torch.testing.assert_close(a, b)
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_plain_attention_is_undone_after_an_exception():
    fused = functional.scaled_dot_product_attention
    with pytest.raises(KeyError), plain_attention():
        assert functional.scaled_dot_product_attention is attend
        raise KeyError
    assert functional.scaled_dot_product_attention is fused


def test_prior_uses_plain_attention(monkeypatch):
    tokenizer = builtin.new_tokenizer(["a red car"])
    backbone = builtin.new_backbone(image_size=16, layers=2, heads=2, head_width=16)
    model = Denoiser(backbone, builtin.new_text_encoder(tokenizer))
    calls = []
    monkeypatch.setattr(
        attention, "attend", lambda *args, **options: calls.append(1) or attend(*args, **options)
    )
    z, tokens = (
        torch.randn(1, 3, 16, 16),
        tokenizer(["a red car"], padding="max_length", return_tensors="pt").input_ids,
    )
    before = model(z, torch.ones(1), tokens)
    with plain_attention():
        torch.testing.assert_close(model(z, torch.ones(1), tokens), before, atol=1e-5, rtol=1e-4)
    assert len(calls) == 4  # two layers of the text encoder, two of the backbone


def test_bfloat16_error_is_similar_to_that_of_torch():
    gen = torch.Generator().manual_seed(0)
    x = [torch.randn(2, 3, 20, 16, generator=gen) for _ in range(3)]
    exact = functional.scaled_dot_product_attention(*x)
    ours, theirs = (
        attend(*(v.bfloat16() for v in x)),
        functional.scaled_dot_product_attention(*(v.bfloat16() for v in x)),
    )
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).abs().mean() < 2 * (theirs - exact).abs().mean()


@pytest.mark.parametrize("options", [{"dropout_p": 0.1}, {"enable_gqa": True}])
def test_unsupported_options_raise(options):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="expected dropout_p=0 and enable_gqa=False, got"):
        attend(x, x, x, **options)
