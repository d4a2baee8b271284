# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch has no complete types.
"""The layers of `Transformer`.

Tokens come first, images second. The tokens of patches and those of text then lie one behind the
other in memory, whatever the number of images, and no linear layer has to copy them. Tokens of text
that are equal stay equal in all layers, because text has no positions here: the padding is one
token, which counts as many as there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

EPSILON = 1e-6
WIDENING = 4
"""Width of the hidden layer of a feed-forward network, divided by that of its input."""


def is_inference_on_cpu(x: Tensor) -> bool:
    """Whether `x` is on the CPU and needs no gradient; False while torch compiles."""
    return x.device.type == "cpu" and not x.requires_grad and not torch.compiler.is_compiling()


class Modulation(nn.Module):
    """Factors and shifts for the channels of one image, from the SiLU of its vector."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.linear = nn.Linear(width, count * width)
        self.count = count

    def forward(self, condition: Float[Tensor, "B W"]) -> tuple[Float[Tensor, "B W"], ...]:
        return self.linear(condition).chunk(self.count, dim=1)


def modulated(x: Float[Tensor, "N B W"], scale: Tensor, shift: Tensor) -> Tensor:
    """Tokens with mean 0 and variance 1, scaled and shifted (Peebles & Xie 2023, adaLN)."""
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=EPSILON), 1 + scale)


class Gelu(nn.Module):
    """The hidden layer of a feed-forward network."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Linear(width, WIDENING * width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        if x.dtype != torch.float32 or not is_inference_on_cpu(x):
            return functional.gelu(x, approximate="tanh")
        from gs3d.priors.plain._gelu import gelu_

        return gelu_(x)


class FeedForward(nn.Module):
    """Two linear layers. The one between them, which does nothing, keeps diffusers' numbers."""

    def __init__(self, width: int):
        super().__init__()
        self.net = nn.Sequential(Gelu(width), nn.Identity(), nn.Linear(WIDENING * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Attention(nn.Module):
    """All tokens of an image and its text attend to all."""

    def __init__(self, width: int, heads: int, is_last: bool):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        # In the order of diffusers: a LoRA draws its first weights in it.
        self.add_k_proj, self.add_v_proj, self.add_q_proj = (
            nn.Linear(width, width) for _ in range(3)
        )
        self.to_out = nn.Sequential(nn.Linear(width, width))
        self.to_add_out = None if is_last else nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "N B W"], text: Float[Tensor, "L B W"], repeats: int
    ) -> tuple[Tensor, Tensor | None]:
        """The last token of text is attended to as if `repeats` more followed. The last layer gives
        no text."""
        q = self.to_q(x)
        if self.to_add_out is not None:
            q = torch.cat([q, self.add_q_proj(text)])
        k = _with_repeats(self.to_k(x), self.add_k_proj(text), repeats)
        v = _with_repeats(self.to_v(x), self.add_v_proj(text), repeats)
        q, k, v = self._split(q), self._split(k), self._split(v)
        mixed = functional.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).flatten(2)
        x, text = self.to_out(mixed[: len(x)]), mixed[len(x) :]
        return x, None if self.to_add_out is None else self.to_add_out(text)

    def _split(self, tokens: Float[Tensor, "N B W"]) -> Float[Tensor, "B H N W//H"]:
        return tokens.unflatten(2, (self.heads, -1)).permute(1, 2, 0, 3)


def _with_repeats(x: Tensor, text: Tensor, repeats: int) -> Tensor:
    return torch.cat([x, text, text[-1:].expand(repeats, -1, -1)])


class Block(nn.Module):
    """One layer. The last one gives no text."""

    def __init__(self, width: int, heads: int, is_last: bool):
        super().__init__()
        self.norm1 = Modulation(width, 6)
        self.norm1_context = Modulation(width, 2 if is_last else 6)
        self.attn = Attention(width, heads, is_last)
        self.ff = FeedForward(width)
        self.ff_context = None if is_last else FeedForward(width)

    def forward(
        self, x: Float[Tensor, "N B W"], text: Tensor, condition: Tensor, repeats: int
    ) -> tuple[Tensor, Tensor]:
        """`repeats` is that of `Attention`."""
        shift, scale, *after = self.norm1(condition)
        of_text = self.norm1_context(condition)
        # The last layer has the two in the other order.
        text_shift, text_scale = of_text[:2] if self.ff_context is not None else of_text[::-1]
        mixed, mixed_text = self.attn(
            modulated(x, scale, shift), modulated(text, text_scale, text_shift), repeats
        )
        x = _after(x, mixed, self.ff, *after)
        if self.ff_context is not None:
            text = _after(text, mixed_text, self.ff_context, *of_text[2:])
        return x, text


def _after(
    x: Tensor,
    mixed: Tensor,
    network: FeedForward,
    gate: Tensor,
    shift: Tensor,
    scale: Tensor,
    second_gate: Tensor,
) -> Tensor:
    """What a layer does to its tokens after the attention."""
    x = torch.addcmul(x, gate, mixed)
    return torch.addcmul(x, second_gate, cast(Tensor, network(modulated(x, scale, shift))))
