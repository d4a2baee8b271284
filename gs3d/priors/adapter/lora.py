# pyright: reportUnknownMemberType=false
# torch has no complete types.
"""A LoRA around the layers of a network that itself never changes (Hu et al. 2021, 2106.09685).

It works by forward hooks that exist only within `Adapter.active`. Outside, the network has no trace
of it and computes what it always did, to the bit. No layer is replaced, so that names of weights
stay too, and peft is not needed.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gs3d.core.errors import UserError
from gs3d.priors.adapter.camera import CameraEmbedding
from gs3d.priors.adapter.opened import projections, time_module

if TYPE_CHECKING:
    from jaxtyping import Float


class Adapter(nn.Module):
    """Low-rank changes of attention layers, W + B·A, and an embedding of the camera.

    B and the last layer of the embedding start as zero, so that a new adapter changes nothing. Its
    weights are float32 and on the device of the network. It does not hold the network as a child.
    """

    def __init__(self, backbone: Any, rank: int, generator: torch.Generator, what: str):
        """Raise `UserError` about `what`, the loss, if the network has no attention layers or no
        time embedding that are known, or if a layer is narrower than `rank`."""
        super().__init__()
        layers, time = projections(backbone), time_module(backbone)
        if not layers or time is None:
            raise UserError(
                f"{what}: the network {type(backbone).__name__} has no attention or time embedding "
                "that gs3d knows; choose another prior or guidance"
            )
        narrow = min(layers, key=lambda name: _width(layers[name]))
        if rank > (width := _width(layers[narrow])):
            raise UserError(
                f"{what}: lora_rank: expected at most {width}, the width of the layer {narrow}, "
                f"got {rank}"
            )
        self._layers, self._time = list(layers.values()), [time[0]]
        # In lists, which torch does not search for parameters and children.
        self.names = [name.replace(".", "/") for name in layers]
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        for name, layer in zip(self.names, self._layers, strict=True):
            down = torch.randn(rank, layer.in_features, generator=generator) / rank
            self.down[name] = nn.Parameter(down)
            self.up[name] = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.camera = CameraEmbedding(time[1], generator)
        self.to(backbone.device)

    @contextmanager
    def active(self, camera: Float[Tensor, "B 6"]) -> Generator[None, None, None]:
        """Within, the network computes with the adapter, for images seen by the cameras with these
        features; in this thread only, because others may use the network too."""
        thread = threading.get_ident()

        def add_lora(down: Tensor, up: Tensor) -> Any:
            def hook(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
                if threading.get_ident() != thread:
                    return out
                low = functional.linear(args[0], down.to(out.dtype))
                return out + functional.linear(low, up.to(out.dtype))

            return hook

        def add_camera(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
            if threading.get_ident() != thread:
                return out
            return out + self.camera(camera).to(out.dtype)

        with ExitStack() as hooks:
            for name, layer in zip(self.names, self._layers, strict=True):
                hook = add_lora(self.down[name], self.up[name])
                hooks.callback(layer.register_forward_hook(hook).remove)
            hooks.callback(self._time[0].register_forward_hook(add_camera).remove)
            yield


def _width(layer: nn.Linear) -> int:
    return min(layer.in_features, layer.out_features)
