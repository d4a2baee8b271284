"""Whether several particles fit into memory, told before the first iteration."""

import torch

from gs3d.core.errors import UserError
from gs3d.core.runtime.memory import free_memory
from gs3d.distill.settings.stages import StageConfig
from gs3d.representations.base import Representation

COPIES = 4
"""Of each parameter: itself, its gradient and the two moments of Adam."""


def check_room(
    number: int, first: Representation, stage: StageConfig, flag: str = "--particles"
) -> None:
    """Raise `UserError` if `number` objects like the new `first` cannot fit beside each other,
    with as many splats as `stage` lets them grow to. `flag` is the option that asked for them.

    It counts this stage alone, and neither the prior, the renders nor a checkpoint, so more may be
    too many.
    """
    if number == 1 or (free := free_memory(first.device)) is None:
        return
    tensors = first.state_tensors().values()
    size = COPIES * sum(t.numel() * t.element_size() for t in tensors)
    if stage.representation == "splats" and stage.densify.start < 1:
        size *= max(stage.densify.max_count / max(len(first), 1), 1.0)
    if number * size > free:
        kind = torch.device(first.device).type
        where = "the machine" if kind == "cpu" else "the card"
        raise UserError(
            f"{flag} {number}: each takes up to {size / 1e9:.3g} GB, and {where} has "
            f"{free / 1e9:.3g} GB free; expected at most {max(int(free / size), 1)}"
        )
