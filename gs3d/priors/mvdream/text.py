"""MVDream's text: the states of the tokens, and the camera of the view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.priors.mvdream.cameras import NUMBERS, numbers_of
from gs3d.priors.network import TextEncoder
from gs3d.priors.text.packing import pack, unpack

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

    from gs3d.core.cameras import Cameras


class ViewTextEncoder(TextEncoder):
    """Prompts → embeddings with rows of zeros where the camera belongs."""

    def embed(self, prompts: list[str]) -> Float32[Tensor, "P M E"]:
        """Embeddings of P prompts, without cameras. Raises RuntimeError after `free`."""
        states = super().embed(prompts)
        return pack(states, states.new_zeros(len(states), NUMBERS))


def with_cameras(text: Float[Tensor, "B M E"], cameras: Cameras) -> Float[Tensor, "B M E"]:
    """The embeddings with the cameras of the views, in place of other cameras or none."""
    states, _ = unpack(text, NUMBERS)
    return pack(states, numbers_of(cameras).to(states.device, states.dtype))


def split(text: Float[Tensor, "B M E"]) -> tuple[Float[Tensor, "B L E"], Float[Tensor, "B 16"]]:
    """States of the tokens, and the numbers of the cameras: zeros if the text has none."""
    return unpack(text, NUMBERS)
