import pytest
import torch
from torch.nn import functional

from gs3d.fitting.attention import attend, plain_attention

CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "some keys hidden": {"attn_mask": torch.tensor([True, True, False, True, True, False, True]).expand(2, 1, 7, 7)},
    "something added": {"attn_mask": torch.linspace(-2, 2, 49).view(7, 7)},
}


@pytest.mark.parametrize("more", CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_torch(more):
    gen = torch.Generator().manual_seed(0)
    ours = [torch.randn(2, 3, 7, 5, generator=gen).requires_grad_() for _ in range(3)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    weights = torch.randn(2, 3, 7, 5, generator=gen)
    a, b = attend(*ours, **more), functional.scaled_dot_product_attention(*theirs, **more)
    torch.testing.assert_close(a, b)
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_it_is_in_force_within_and_gone_after():
    fused = functional.scaled_dot_product_attention
    with pytest.raises(KeyError), plain_attention():
        assert functional.scaled_dot_product_attention is attend
        raise KeyError
    assert functional.scaled_dot_product_attention is fused


def test_dropout_is_refused():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="expected no dropout, got 0.1"):
        attend(x, x, x, dropout_p=0.1)
