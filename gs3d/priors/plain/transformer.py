# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch has no complete types.
"""The denoising transformer of the built-in prior: diffusers' SD3Transformer2DModel as it uses it.

An MMDiT (Esser et al. 2024, Sec. 4 and Fig. 2): tokens of patches and tokens of text have weights
of their own, and attend to each other. The names of the layers are those of diffusers, so that its
weight files fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

FREQUENCIES = 128
"""Sines and as many cosines that make the vector of a time."""
LONGEST_PERIOD = 10_000.0
EPSILON = 1e-6
WIDENING = 4
"""Width of the hidden layer of a feed-forward network, divided by that of its input."""
SIZES = (
    *("sample_size", "patch_size", "in_channels", "out_channels", "num_layers"),
    *("attention_head_dim", "num_attention_heads", "joint_attention_dim"),
    *("caption_projection_dim", "pooled_projection_dim", "pos_embed_max_size"),
)
"""Settings that must be positive integers."""
FIXED: dict[str, tuple[Any, ...]] = {"qk_norm": (None,), "dual_attention_layers": ([], ())}
"""Other settings → the values with which this class computes what diffusers does."""


def supports_transformer(config: Mapping[str, Any]) -> bool:
    """Whether a config.json of an SD3Transformer2DModel describes a network of this class."""
    settings = {key for key in config if not key.startswith("_")}
    if settings != {*SIZES, *FIXED} or any(config[key] not in FIXED[key] for key in FIXED):
        return False
    if not all(type(config[key]) is int and config[key] > 0 for key in SIZES):
        return False
    width = config["num_attention_heads"] * config["attention_head_dim"]
    return (
        config["caption_projection_dim"] == width
        and config["sample_size"] % config["patch_size"] == 0
        and config["sample_size"] // config["patch_size"] <= config["pos_embed_max_size"]
    )


class Transformer(nn.Module):
    """Images, times and text → what the network predicts of the images."""

    def __init__(self, config: Mapping[str, Any]):
        """One of the sizes in `config`, which `supports_transformer` must accept."""
        super().__init__()
        self.config = dict(config)
        width = config["num_attention_heads"] * config["attention_head_dim"]
        patch, layers = config["patch_size"], config["num_layers"]
        self.pos_embed = Patches(config["in_channels"], width, patch, config["pos_embed_max_size"])
        self.time_text_embed = TimeAndText(config["pooled_projection_dim"], width)
        self.context_embedder = nn.Linear(config["joint_attention_dim"], width)
        self.transformer_blocks = nn.ModuleList(
            Block(width, config["num_attention_heads"], is_last=i == layers - 1)
            for i in range(layers)
        )
        self.norm_out = Modulation(width, 2)
        self.proj_out = nn.Linear(width, patch * patch * config["out_channels"])

    @property
    def device(self) -> torch.device:
        return self.proj_out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.proj_out.weight.dtype

    def forward(
        self,
        hidden_states: Float[Tensor, "B C h w"],
        encoder_hidden_states: Float[Tensor, "B L E"],
        pooled_projections: Float[Tensor, "B P"],
        timestep: Float[Tensor, " B"],
        return_dict: bool = False,
    ) -> tuple[Float[Tensor, "B C h w"]]:
        """The arguments have diffusers' names. The result is a tuple, whatever `return_dict`."""
        x = self.pos_embed(hidden_states)
        condition = self.time_text_embed(timestep, pooled_projections)
        text = self.context_embedder(encoder_hidden_states)
        for block in self.transformer_blocks:
            x, text = block(x, text, condition)
        scale, shift = self.norm_out(condition)
        x = self.proj_out(modulated(x, scale, shift))
        return (self._image(x, *hidden_states.shape[-2:]),)

    def _image(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Put the patches [B, N, P·P·C] together."""
        patch, channels = self.config["patch_size"], self.config["out_channels"]
        rows, columns = height // patch, width // patch
        x = tokens.reshape(len(tokens), rows, columns, patch, patch, channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), channels, height, width)


class Patches(nn.Module):
    """Patches of an image as tokens, with the embedding of their positions."""

    pos_embed: Tensor

    def __init__(self, channels: int, width: int, patch: int, side: int):
        """`side` is that of the square of positions that have an embedding."""
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)
        self.side = side
        self.register_buffer("pos_embed", torch.empty(1, side * side, width))

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B N W"]:
        x = self.proj(image)
        rows, columns = x.shape[-2:]
        if max(rows, columns) > self.side:
            raise ValueError(f"expected at most {self.side}² patches, got {rows} × {columns}")
        top, left = (self.side - rows) // 2, (self.side - columns) // 2
        table = self.pos_embed.unflatten(1, (self.side, self.side))
        positions = table[:, top : top + rows, left : left + columns].flatten(1, 2)
        return (x.flatten(2).transpose(1, 2) + positions).to(x.dtype).contiguous()


class TwoLayers(nn.Module):
    """A linear layer, SiLU and another one."""

    def __init__(self, given: int, width: int):
        super().__init__()
        self.linear_1 = nn.Linear(given, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(functional.silu(self.linear_1(x)))


class TimeAndText(nn.Module):
    """The vector of an image by which all layers are modulated."""

    def __init__(self, pooled: int, width: int):
        super().__init__()
        self.timestep_embedder = TwoLayers(2 * FREQUENCIES, width)
        self.text_embedder = TwoLayers(pooled, width)

    def forward(
        self, time: Float[Tensor, " B"], pooled: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B W"]:
        k = torch.arange(FREQUENCIES, dtype=torch.float32, device=time.device)
        angles = time.float()[:, None] * (-math.log(LONGEST_PERIOD) * k / FREQUENCIES).exp()
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        return self.timestep_embedder(waves.to(pooled.dtype)) + self.text_embedder(pooled)


class Modulation(nn.Module):
    """Factors and shifts for the channels of one image, from its vector."""

    def __init__(self, width: int, count: int):
        super().__init__()
        self.linear = nn.Linear(width, count * width)
        self.count = count

    def forward(self, condition: Float[Tensor, "B W"]) -> tuple[Float[Tensor, "B 1 W"], ...]:
        return self.linear(functional.silu(condition))[:, None].chunk(self.count, dim=2)


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Tokens with mean 0 and variance 1, scaled and shifted (Peebles & Xie 2023, adaLN)."""
    return functional.layer_norm(x, x.shape[-1:], eps=EPSILON) * (1 + scale) + shift


class Gelu(nn.Module):
    """The hidden layer of a feed-forward network."""

    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Linear(width, WIDENING * width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.proj(x), approximate="tanh")


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
        self, x: Float[Tensor, "B N W"], text: Float[Tensor, "B L W"]
    ) -> tuple[Tensor, Tensor]:
        of_x = (self.to_q, self.to_k, self.to_v)
        of_text = (self.add_q_proj, self.add_k_proj, self.add_v_proj)
        q, k, v = (
            torch.cat([self._split(f(x)), self._split(g(text))], dim=2)
            for f, g in zip(of_x, of_text, strict=True)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x, text = mixed[:, : x.shape[1]], mixed[:, x.shape[1] :]
        return self.to_out(x), text if self.to_add_out is None else self.to_add_out(text)

    def _split(self, tokens: Tensor) -> Float[Tensor, "B H N W//H"]:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


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
        self, x: Float[Tensor, "B N W"], text: Float[Tensor, "B L W"], condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        shift, scale, *after = self.norm1(condition)
        of_text = self.norm1_context(condition)
        if self.ff_context is None:
            text_scale, text_shift = of_text
        else:
            text_shift, text_scale = of_text[:2]
        mixed, mixed_text = self.attn(
            modulated(x, scale, shift), modulated(text, text_scale, text_shift)
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
    x = x + gate * mixed
    return x + second_gate * cast(Tensor, network(modulated(x, scale, shift)))
