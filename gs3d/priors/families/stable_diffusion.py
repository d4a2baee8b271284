"""Stable Diffusion 1 and 2, and other U-Nets with one CLIP (Rombach et al. 2022)."""

from __future__ import annotations

from gs3d.priors.families.base import (
    AUTOENCODERS,
    CLIP,
    UNET,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    numbers,
)
from gs3d.priors.network import TextEncoder, predict


def one_text(parts: TextParts) -> AnyText:
    """The text of a single CLIP."""
    return TextEncoder(*parts.encoders["text_encoder"])


def widths(network: Config, text: AnyText) -> list[Width]:
    """What a network with the `network` settings takes of a single CLIP."""
    width = text.encoders[0].model.config.hidden_size
    key = "encoder_hid_dim" if network.get("encoder_hid_dim") else "cross_attention_dim"
    taken = numbers(network.get(key) or network.get("joint_attention_dim"))
    # The pooled text of a transformer is one of the states, and as wide (`families.builtin`).
    taken |= numbers(network.get("pooled_projection_dim"))
    return [Width(tuple(text.encoders), width, "token", taken)]


STABLE_DIFFUSION = Family(
    name="Stable Diffusion 1.5, 2.1",
    parts={"unet": UNET, "vae": AUTOENCODERS, "text_encoder": CLIP},
    # The last in the list of families: whatever no other one recognizes.
    recognizes=lambda index: True,
    predict=predict,
    text=one_text,
    widths=widths,
    optional=("vae",),
)
