"""Where splats are rendered."""

import torch

from gs3d.core.errors import UserError
from gs3d.distill.settings.stages import RunConfig
from gs3d.raster.cuda import build_state
from gs3d.runs.callbacks import Message
from gs3d.runs.request import Request


def raster_device_of(
    request: Request, device: str, config: RunConfig, messages: list[Message]
) -> str:
    """Where splats are rendered: on the device of the prior if gsplat can run there, else on the
    CPU. Warns if only a missing part keeps gsplat from it."""
    has_cuda = torch.device(device).type == "cuda"
    if request.raster == "gsplat" and not has_cuda:
        raise UserError(f"--raster gsplat: needs CUDA, and the prior is on {device}; leave it out")
    if request.raster == "cpu" or not has_cuda:
        return "cpu"
    state = build_state()
    if all(stage.representation != "splats" for stage in config.stages):
        return device  # fields and surfaces do not need gsplat
    if state not in ("built", "not built"):
        if request.raster == "gsplat":
            raise UserError(f"--raster gsplat: it cannot run here ({state}); see `gs3d doctor`")
        messages.append(
            Message(
                f"gsplat cannot run here ({state}; see `gs3d doctor`): splats are rendered on the "
                "CPU, which takes longer",
                is_warning=True,
            )
        )
        return "cpu"
    return device
