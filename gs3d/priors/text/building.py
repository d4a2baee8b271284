"""The text of a model, from the encoders and tokenizers that were loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs3d.priors.families.base import AnyText, Family, TextParts
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import usable
from gs3d.priors.text.several import token_limit, tokenizer_of


def build_text(
    name: str,
    folder: Path,
    family: Family,
    encoders: Mapping[str, tuple[Any, Any]],
    network: Mapping[str, Any],
) -> AnyText:
    """The text encoder, or all of them with the rule that makes one text of theirs.

    `encoders` holds (model, tokenizer) by the name of the encoder's part, `network` the settings of
    the denoising network. Raises `UserError`, with the model's `name`, for a tokenizer without a
    usable length or an unusable model_index.json in `folder`.
    """
    limits: dict[str, int] = {}
    for part, (model, tokenizer) in encoders.items():
        if hasattr(model.config, "max_position_embeddings"):
            with usable(f"prior {name}: its {tokenizer_of(part)}"):
                limits[part] = token_limit(model, tokenizer)
    index = read_object(folder / "model_index.json", f"prior {name}")
    return family.text(TextParts(name, index, encoders, limits, network))
