# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch has no complete types.
"""The denoising transformer of the built-in prior: diffusers' SD3Transformer2DModel as it uses it.

An MMDiT (Esser et al. 2024, Sec. 4 and Fig. 2): tokens of patches and tokens of text have weights
of their own, and attend to each other. The names of the layers are those of diffusers, so that its
weight files fit.

Tokens come first here, images second. The tokens of patches and those of text then lie one behind
the other in memory, whatever the number of images, and no linear layer has to copy them. States of
text that are equal stay equal in all layers, because text has no positions here: the padding is one
token, which counts as many as there are.
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
        condition = functional.silu(self.time_text_embed(timestep, pooled_projections))
        repeats = equal_at_end(encoder_hidden_states)
        text = encoder_hidden_states[:, : encoder_hidden_states.shape[1] - repeats]
        text = self.context_embedder(text.transpose(0, 1).contiguous())
        for block in self.transformer_blocks:
            x, text = block(x, text, condition, repeats)
        scale, shift = self.norm_out(condition)
        x = self.proj_out(modulated(x, scale, shift))
        return (self._image(x, *hidden_states.shape[-2:]),)

    def _image(self, tokens: Float[Tensor, "N B D"], height: int, width: int) -> Tensor:
        """Put the patches together, which have P·P·C numbers each."""
        patch, channels = self.config["patch_size"], self.config["out_channels"]
        x = tokens.unflatten(0, (height // patch, width // patch))
        x = x.unflatten(3, (patch, patch, channels))
        return x.permute(2, 5, 0, 3, 1, 4).reshape(-1, channels, height, width)


def equal_at_end(text: Float[Tensor, "B L E"]) -> int:
    """Number of states that may be left out, because in every text they equal the one before; 0
    unless `only_evaluates_on_cpu`, since each state has a gradient."""
    if not only_evaluates_on_cpu(text):
        return 0
    equal = (text[:, 1:] == text[:, :-1]).all(2).all(0)
    return int(equal.flip(0).cumprod(0).sum())


def only_evaluates_on_cpu(x: Tensor) -> bool:
    """Whether `x` is on the CPU and needs no gradient. False while torch compiles."""
    return x.device.type == "cpu" and not x.requires_grad and not torch.compiler.is_compiling()


class Patches(nn.Module):
    """Patches of an image as tokens, with the embedding of their positions."""

    pos_embed: Tensor

    def __init__(self, channels: int, width: int, patch: int, side: int):
        """`side` is that of the square of positions that have an embedding."""
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)
        self.side = side
        self.register_buffer("pos_embed", torch.empty(1, side * side, width))

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "N B W"]:
        x = self.proj(image)
        rows, columns = x.shape[-2:]
        if max(rows, columns) > self.side:
            raise ValueError(f"expected at most {self.side}² patches, got {rows} × {columns}")
        top, left = (self.side - rows) // 2, (self.side - columns) // 2
        table = self.pos_embed.unflatten(1, (self.side, self.side))
        positions = table[:, top : top + rows, left : left + columns].flatten(1, 2)
        x = x.flatten(2).permute(2, 0, 1) + positions.transpose(0, 1)
        return x.to(self.proj.weight.dtype).contiguous()


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
        if x.dtype != torch.float32 or not only_evaluates_on_cpu(x):
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
        to_q, to_k, to_v = self.add_q_proj, self.add_k_proj, self.add_v_proj
        q = self.to_q(x) if self.to_add_out is None else torch.cat([self.to_q(x), to_q(text)])
        k, v = (
            torch.cat([of_x, of_text, of_text[-1:].expand(repeats, -1, -1)])
            for of_x, of_text in ((self.to_k(x), to_k(text)), (self.to_v(x), to_v(text)))
        )
        q, k, v = self._split(q), self._split(k), self._split(v)
        mixed = functional.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).flatten(2)
        x, text = self.to_out(mixed[: len(x)]), mixed[len(x) :]
        return x, None if self.to_add_out is None else self.to_add_out(text)

    def _split(self, tokens: Float[Tensor, "N B W"]) -> Float[Tensor, "B H N W//H"]:
        return tokens.unflatten(2, (self.heads, -1)).permute(1, 2, 0, 3)


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
