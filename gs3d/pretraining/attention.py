"""Attention that is fast in training on a CPU."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Replace `scaled_dot_product_attention` by two matrix products and a softmax in float32.

    The products keep the precision of the tensors [..., L, E]. Dropout and grouped queries are not
    supported and raise `ValueError`.
    """
    if dropout_p or enable_gqa:
        raise ValueError(
            "attend: expected dropout_p=0 and enable_gqa=False,"
            f" got dropout_p={dropout_p} and enable_gqa={enable_gqa}"
        )
    logits = (
        (query * (scale if scale is not None else 1 / math.sqrt(query.shape[-1]))) @ key.mT
    ).float()
    if is_causal:
        logits = logits.masked_fill(
            torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device)
            .tril()
            .logical_not(),
            -math.inf,
        )
    if attn_mask is not None:
        logits = (
            logits.masked_fill(~attn_mask, -math.inf)
            if attn_mask.dtype == torch.bool
            else logits + attn_mask
        )
    return logits.softmax(dim=-1).to(value.dtype) @ value


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Make all networks use `attend` inside this context.

    PyTorch's fused CPU kernel works block by block, which is slow for short texts and small images:
    its backward pass took a quarter of a training step.
    """
    fused = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused
