"""Layers of MVDream's network, named as in its published weights.

B counts views, C channels, T the numbers of the embedding of time and camera, N the pixels of a
feature map of h × w, and L tokens of E numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

GROUPS = 32
"""Groups of every group normalization; all numbers of channels are multiples of it."""
WIDENING = 4
"""Width of the hidden layer of a feed-forward layer, in widths of the token."""


class Attention(nn.Module):
    """Multi-head attention from the tokens to a context, or to themselves."""

    def __init__(self, width: int, context_width: int, head_width: int):
        super().__init__()
        self.heads = width // head_width
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(
        self, tokens: Float[Tensor, "B N C"], context: Float[Tensor, "B L E"]
    ) -> Float[Tensor, "B N C"]:
        q, k, v = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.to_q(tokens), self.to_k(context), self.to_v(context))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    """A linear layer whose result is multiplied by the GELU of another (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, tokens: Float[Tensor, "B N C"]) -> Float[Tensor, "B N H"]:
        value, gate = self.proj(tokens).chunk(2, dim=2)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """Two layers that treat each token by itself."""

    def __init__(self, width: int):
        super().__init__()
        hidden = WIDENING * width
        # The second position is that of the dropout in training, so that the third keeps its name.
        self.net = nn.Sequential(Gated(width, hidden), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, tokens: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
        return self.net(tokens)


class TransformerBlock(nn.Module):
    """Attention over the pixels of a group of views, attention to the text, feed-forward."""

    def __init__(self, width: int, text_width: int, head_width: int):
        super().__init__()
        self.attn1 = Attention(width, width, head_width)
        self.attn2 = Attention(width, text_width, head_width)
        self.ff = FeedForward(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, tokens: Float[Tensor, "B N C"], text: Float[Tensor, "B L E"], views: int
    ) -> Float[Tensor, "B N C"]:
        # Rows that follow each other are one group, and a group is one sequence (Section 3.1).
        count, pixels, width = tokens.shape
        joint = tokens.reshape(count // views, views * pixels, width)
        normed = self.norm1(joint)
        tokens = (joint + self.attn1(normed, normed)).reshape(count, pixels, width)
        tokens = tokens + self.attn2(self.norm2(tokens), text)
        return tokens + self.ff(self.norm3(tokens))


class SpatialTransformer(nn.Module):
    """Transformer blocks on the pixels of feature maps, added to these."""

    def __init__(self, width: int, text_width: int, head_width: int, depth: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, text_width, head_width) for _ in range(depth)
        )
        self.proj_out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "B C h w"], text: Float[Tensor, "B L E"], views: int
    ) -> Float[Tensor, "B C h w"]:
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, views)
        return x + self.proj_out(tokens).transpose(1, 2).reshape(x.shape)


class ResBlock(nn.Module):
    """Two convolutions, with the embedding of time and camera added between them."""

    def __init__(self, channels: int, out_channels: int, embedding_width: int):
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding_width, out_channels))
        # The third position is that of the dropout in training.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "B C h w"], embedding: Float[Tensor, "B T"]
    ) -> Float[Tensor, "B D h w"]:
        inner = self.in_layers(x) + self.emb_layers(embedding)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(inner)


class Halving(nn.Module):
    """A convolution with stride 2."""

    def __init__(self, channels: int):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h//2 w//2"]:
        return self.op(x)


class Doubling(nn.Module):
    """Every pixel twice in both directions, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C 2*h 2*w"]:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
