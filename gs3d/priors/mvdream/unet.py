# pyright: reportUnknownMemberType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownVariableType=false
# diffusers has no complete types.
"""MVDream's network. Importing this module imports diffusers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gs3d.core.errors import UserError, shown
from gs3d.priors.mvdream.cameras import NUMBERS
from gs3d.priors.mvdream.layers import GROUPS, Doubling, Halving, ResBlock, SpatialTransformer

if TYPE_CHECKING:
    from jaxtyping import Float

LONGEST_PERIOD = 10_000
"""Of the waves that embed the time, in steps over 2π."""


class MultiViewUNetModel(ModelMixin, ConfigMixin):
    """A U-Net on the latents of groups of views.

    The class and the settings have the names that the published config.json uses.
    """

    @register_to_config
    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: tuple[int, ...],
        channel_mult: tuple[int, ...],
        num_head_channels: int,
        context_dim: int,
        camera_dim: int,
        transformer_depth: int = 1,
        ip_dim: int = 0,
    ):
        """Build the network with random weights.

        Args:
            image_size: Side of the latents. The network takes others too.
            in_channels: Channels of the latents.
            model_channels: Channels at the first level, a multiple of 32.
            out_channels: Channels of the prediction.
            num_res_blocks: Residual blocks at each level on the way down; one more on the way up.
            attention_resolutions: Levels that have transformers, as 1, 2, 4 ... times smaller.
            channel_mult: Channels at each level, in `model_channels`.
            num_head_channels: Width of a head of attention, a divisor of all channels with it.
            context_dim: Width of a token of the text.
            camera_dim: Numbers of a camera, 16.
            transformer_depth: Blocks of each transformer.
            ip_dim: Tokens of an image, 0; ImageDream, which has the same class, has more.

        Raises `ValueError` for sizes that do not fit together, and `UserError` for ImageDream.
        """
        super().__init__()
        if ip_dim:
            raise UserError(
                f"MultiViewUNetModel: ip_dim {shown(ip_dim)}: this is ImageDream, which wants an "
                "image beside the text; use a model of MVDream"
            )
        widths = [model_channels * times for times in channel_mult]
        attended = [2**level in attention_resolutions for level in range(len(widths))]
        _check_sizes(model_channels, widths, attended, num_head_channels, camera_dim)

        self.time_width, embedding = model_channels, 4 * model_channels
        self.time_embed = _two_layers(model_channels, embedding)
        self.camera_embed = _two_layers(camera_dim, embedding)

        def stage(channels: int, width: int, has_transformer: bool) -> list[nn.Module]:
            layers: list[nn.Module] = [ResBlock(channels, width, embedding)]
            if has_transformer:
                layers.append(transformer(width))
            return layers

        def transformer(width: int) -> nn.Module:
            return SpatialTransformer(width, context_dim, num_head_channels, transformer_depth)

        channels = model_channels
        # Each result on the way down is an input on the way up; `kept` has their channels.
        kept = [channels]
        downward: list[Sequence[nn.Module]] = [[nn.Conv2d(in_channels, channels, 3, padding=1)]]
        for level, (width, has_transformer) in enumerate(zip(widths, attended, strict=True)):
            for _ in range(num_res_blocks):
                downward.append(stage(channels, width, has_transformer))
                channels = width
                kept.append(channels)
            if level < len(widths) - 1:
                downward.append([Halving(channels)])
                kept.append(channels)
        self.input_blocks = _lists(downward)

        self.middle_block = nn.ModuleList(
            [*stage(channels, channels, True), ResBlock(channels, channels, embedding)]
        )

        upward: list[Sequence[nn.Module]] = []
        for level in reversed(range(len(widths))):
            for number in range(num_res_blocks + 1):
                layers = stage(channels + kept.pop(), widths[level], attended[level])
                channels = widths[level]
                if level and number == num_res_blocks:
                    layers.append(Doubling(channels))
                upward.append(layers)
        self.output_blocks = _lists(upward)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )

    def forward(
        self,
        x: Float[Tensor, "B C h w"],
        time: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
        cameras: Float[Tensor, "B 16"],
        views: int,
    ) -> Float[Tensor, "B C h w"]:
        """The network's prediction.

        Args:
            x: Latents; rows k·views to (k + 1)·views − 1 are the views of one group.
            time: The training step of each view, a number that need not be whole.
            text: States of the tokens of the text.
            cameras: See `mvdream.cameras.numbers_of`.
            views: Number of views in a group, a divisor of B.
        """
        waves = embedded_time(time, self.time_width).to(x.dtype)
        embedding = self.time_embed(waves) + self.camera_embed(cameras.to(x.dtype))

        def through(layers: Any, x: Tensor) -> Tensor:
            for layer in layers:
                if isinstance(layer, ResBlock):
                    x = layer(x, embedding)
                elif isinstance(layer, SpatialTransformer):
                    x = layer(x, text, views)
                else:
                    x = layer(x)
            return x

        kept: list[Tensor] = []
        for block in self.input_blocks:
            x = through(block, x)
            kept.append(x)
        x = through(self.middle_block, x)
        for block in self.output_blocks:
            x = through(block, torch.cat([x, kept.pop()], dim=1))
        return self.out(x)

    def enable_xformers_memory_efficient_attention(self, attention_op: Any = None) -> None:
        """Raises `ValueError`: this network has torch's own attention only."""
        raise ValueError("MVDream's network has torch's own attention only")


def embedded_time(time: Float[Tensor, " B"], width: int) -> Float[Tensor, "B width"]:
    """Cosines, then sines, of the time at `width` / 2 falling frequencies (Vaswani et al. 2017).

    Computed in float32: half precision is too coarse for a product such as 999.5 · 0.97.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=time.device) / half
    angles = time.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _two_layers(width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out_width), nn.SiLU(), nn.Linear(out_width, out_width))


def _lists(blocks: list[Sequence[nn.Module]]) -> nn.ModuleList:
    return nn.ModuleList(nn.ModuleList(layers) for layers in blocks)


def _check_sizes(
    first: int, widths: list[int], attended: list[bool], head_width: int, camera_numbers: int
) -> None:
    """Raise `ValueError` for settings that the layers could not be built with."""
    if any(width % GROUPS for width in (first, *widths)):
        raise ValueError(f"expected channels that {GROUPS} divides, got {first} and {widths}")
    with_heads = [w for w, has in zip(widths, attended, strict=True) if has] + widths[-1:]
    if head_width < 1 or any(width % head_width for width in with_heads):
        raise ValueError(f"expected num_head_channels that divides {with_heads}, got {head_width}")
    if camera_numbers != NUMBERS:
        raise ValueError(f"expected camera_dim {NUMBERS}, got {camera_numbers}")
