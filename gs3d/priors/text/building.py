"""The text of a model, from the encoders and tokenizers that were loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import usable
from gs3d.priors.network import TextEncoder
from gs3d.priors.text.several import (
    TextEncoders,
    clip_encoder,
    combine_3,
    combine_xl,
    t5_encoder,
    token_limit,
    tokenizer_of,
)


def build_text(
    name: str, folder: Path, parts: Mapping[str, tuple[Any, Any]], network: Mapping[str, Any]
) -> TextEncoder | TextEncoders:
    """The text encoder, or all of them with the rule that makes one text of theirs.

    `parts` holds (model, tokenizer) by the name of the encoder's part, `network` the configuration
    of the denoising network. Raises `UserError`, with the model's `name`, for a tokenizer without a
    usable length or an unusable model_index.json in `folder`.
    """
    limits: list[int] = []
    for part in [part for part in parts if part != "text_encoder_3"]:
        with usable(f"prior {name}: its {tokenizer_of(part)}"):
            limits.append(token_limit(*parts[part]))
    if len(parts) == 1:
        return TextEncoder(*parts["text_encoder"])
    # Both CLIPs read the same words, so that their states can be put side by side.
    encoders = [
        clip_encoder(part, *parts[part], min(limits)) for part in ("text_encoder", "text_encoder_2")
    ]
    if "joint_attention_dim" not in network:
        return TextEncoders(encoders, combine_xl, _zeroes_empty(name, folder))
    if "text_encoder_3" in parts:
        encoders.append(t5_encoder("text_encoder_3", *parts["text_encoder_3"]))
    return TextEncoders(encoders, partial(combine_3, width=network["joint_attention_dim"]))


def _zeroes_empty(name: str, folder: Path) -> bool:
    """Whether zeros stand for the empty prompt. Without the setting they do, as in diffusers."""
    tree = read_object(folder / "model_index.json", f"prior {name}")
    value = tree.get(key := "force_zeros_for_empty_prompt", True)
    if type(value) is not bool:
        raise UserError(
            f"prior {name}: its model_index.json has {key} {shown(value)}; "
            "expected true or false; correct it or use another model"
        )
    return value
