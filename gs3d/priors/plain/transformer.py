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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gs3d.priors.plain import layers

if TYPE_CHECKING:
    from jaxtyping import Float

FREQUENCIES = 128
"""Sines and as many cosines that make the vector of a time."""
LONGEST_PERIOD = 10_000.0
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
        patch, depth = config["patch_size"], config["num_layers"]
        self.pos_embed = Patches(config["in_channels"], width, patch, config["pos_embed_max_size"])
        self.time_text_embed = TimeAndText(config["pooled_projection_dim"], width)
        self.context_embedder = nn.Linear(config["joint_attention_dim"], width)
        self.transformer_blocks = nn.ModuleList(
            layers.Block(width, config["num_attention_heads"], is_last=i == depth - 1)
            for i in range(depth)
        )
        self.norm_out = layers.Modulation(width, 2)
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
        x = self.proj_out(layers.modulated(x, scale, shift))
        return (self._image(x, *hidden_states.shape[-2:]),)

    def _image(self, tokens: Float[Tensor, "N B P*P*C"], height: int, width: int) -> Tensor:
        """Put the patches together."""
        patch, channels = self.config["patch_size"], self.config["out_channels"]
        x = tokens.unflatten(0, (height // patch, width // patch))
        x = x.unflatten(3, (patch, patch, channels))
        return x.permute(2, 5, 0, 3, 1, 4).reshape(-1, channels, height, width)


def equal_at_end(text: Float[Tensor, "B L E"]) -> int:
    """Number of states at the end that equal the one before them in every text, as padding does.

    0 if `text` needs a gradient, because each state has its own, and on a GPU, which would have to
    be waited for.
    """
    if not layers.is_inference_on_cpu(text):
        return 0
    equal = (text[:, 1:] == text[:, :-1]).all(2).all(0)
    return int(equal.flip(0).cumprod(0).sum())


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
