"""Attention in training on a CPU."""

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
    """What `scaled_dot_product_attention` gives, [..., L, E] each, by two products in the tensors' precision and a softmax in float32."""
    if dropout_p or enable_gqa:
        raise ValueError(
            f"attend: expected no dropout and as many keys as queries, got {dropout_p} and enable_gqa={enable_gqa}"
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
    """Within it, networks call `attend`.

    torch's own for CPUs works through short texts and pictures block by block, and its backward pass took a quarter of a training step.
    """
    fused = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused
