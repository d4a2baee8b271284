"""Whether the parts of a model fit together, checked once after they are loaded."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch

from gs3d.core import rng
from gs3d.core.errors import UserError, shown
from gs3d.priors.latent import downsampling
from gs3d.priors.loading.components import Components, Source, backbone_part
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import usable
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.scalings import Scaling

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder, Backbone

TIMES = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Times at which the noise schedule is looked at."""
KNOWN_SHARE = 0.9
"""Smallest share of the words of a text encoder that its tokenizer must know."""
UNTRAINED = 1e-3
"""Largest output of a network, relative to its input, that counts as next to nothing."""
WORD_END = "</w>"
"""What a vocabulary of CLIP has after a piece that ends a word."""
WORDS = 50
"""Number of long words that a tokenizer is tried on."""
SAME = 1e-6
"""Largest relative difference of predictions that counts as none."""
CONDITIONS = {
    "class_embed_type": "a class or an image",
    "num_class_embeds": "a class",
    "addition_embed_type": "an added condition",
    "time_cond_proj_dim": "the guidance scale",
}
"""Setting of a network → what else than time and text it then wants to be given."""


def check_together(parts: Components, replacement: Source | None = None) -> None:
    """Raise `UserError` if the parts cannot work together, or ignore the prompt.

    `replacement` is where the autoencoder was loaded from, if it is not the model's own. The
    settings are compared first, so that the message can name the parts at fault. Then each
    part is tried once, on a small input.
    """
    name = f"prior {parts.source.name}"
    network = f"its {backbone_part(parts.source.index)}"
    _check_schedule(name, parts.scaling)
    _check_conditions(name, network, parts.backbone)
    _check_width(name, network, parts.backbone, parts.text)
    if parts.vae is not None:
        _check_factor(name, parts.vae, parts.source, replacement)
        _try_autoencoder(name if replacement is None else f"vae {replacement.name}", parts.vae)
    _try_network(name, network, parts, _try_text(name, parts.text))


def _check_schedule(name: str, scaling: Scaling) -> None:
    try:
        sigmas = [scaling.sigma(t) for t in TIMES]
    except (ValueError, OverflowError, IndexError, TypeError):
        sigmas = [math.nan]
    if not all(math.isfinite(s) and s > 0 for s in sigmas) or any(
        a >= b for a, b in pairwise(sigmas)
    ):
        raise UserError(
            f"{name}: the noise of its scheduler does not rise with the time "
            f"(σ {', '.join(f'{s:.3g}' for s in sigmas)}); download the model again"
        )


def _check_conditions(name: str, network: str, backbone: Backbone) -> None:
    config = cast(Any, backbone.config)
    wants = next((w for key, w in CONDITIONS.items() if config.get(key) is not None), None)
    if config.get("encoder_hid_dim_type") not in (None, "text_proj"):
        wants = "an image"
    if wants:
        raise UserError(
            f"{name}: {network} wants {wants} beside the text, which a text-to-image prior is "
            "not given; use another model"
        )


def _check_width(name: str, network: str, backbone: Backbone, text: TextEncoder) -> None:
    config = cast(Any, backbone.config)
    width = cast(Any, text.model).config.hidden_size
    taken = (
        config.get("encoder_hid_dim")
        or config.get("cross_attention_dim")
        or config.get("joint_attention_dim")
    )
    wanted = {taken} if isinstance(taken, int) else set(taken or ())
    # The pooled text is one of the states, and as wide (`network.predict`).
    wanted |= {config.get("pooled_projection_dim")} - {None}
    if other := wanted - {width}:
        raise UserError(
            f"{name}: its text_encoder gives {width} numbers for each token, but {network} takes "
            f"{' or '.join(map(str, sorted(other)))}; the two are of different models"
        )


def _try_text(name: str, text: TextEncoder) -> torch.Tensor:
    """Embeddings of two prompts, [2, L, E]."""
    size = cast(Any, text.model).config.vocab_size
    # With transformers 5, a tokenizer without its files loads, and knows no words.
    words = text.tokenizer.get_vocab()
    largest = max(words.values(), default=0)
    if largest >= size:
        raise UserError(
            f"{name}: its tokenizer numbers words up to {largest}, but its text_encoder knows "
            f"{size}; the two are of different models"
        )
    special = set(text.tokenizer.all_special_ids)
    plain = [i for i in words.values() if i not in special]
    if len(plain) < max(2, KNOWN_SHARE * size):
        raise UserError(
            f"{name}: its tokenizer knows {len(words)} of the {size} words of its text_encoder; "
            "files of the tokenizer are missing; download the model again"
        )
    _try_words(name, text, words)
    prompts = _two_words(text, sorted(plain, reverse=True))
    if len(prompts) < 2:
        raise UserError(f"{name}: its tokenizer knows no two words; {_AGAIN}")
    with usable(f"{name}: its tokenizer with its text_encoder"):
        embeddings = text.embed(prompts)
    if not embeddings.isfinite().all():
        raise UserError(f"{name}: its text_encoder gives NaN or infinite numbers; {_AGAIN}")
    if torch.equal(embeddings[0], embeddings[1]):
        raise UserError(
            f"{name}: its text_encoder gives the same for different prompts "
            f"({' and '.join(map(repr, prompts))}); {_AGAIN}"
        )
    return embeddings


def _try_words(name: str, text: TextEncoder, words: dict[str, int]) -> None:
    """Check that a tokenizer that reads words in pieces reads the long words that it knows whole.

    Without its merges, which are in a file of their own, it reads letters.
    """
    known = [w.removesuffix(WORD_END) for w in words if w.endswith(WORD_END)]
    # Letters beyond ASCII are bytes there, which a text does not have.
    known = [w for w in known if w.isascii() and w.isalpha() and len(w) > 1]
    known = sorted(known, key=len, reverse=True)[:WORDS]
    special = set(text.tokenizer.all_special_ids)
    pieces: list[str] = []
    for word in known:
        with usable(f"{name}: its tokenizer"):
            ids = cast(Any, text.tokenizer).encode(word)
        if [i for i in ids if i not in special] != [words[word + WORD_END]]:
            pieces.append(word)
    if len(pieces) > len(known) / 2:
        raise UserError(
            f"{name}: its tokenizer reads words that it knows in pieces, such as "
            f"{shown(pieces[0])}; its merges are missing; {_AGAIN}"
        )


def _two_words(text: TextEncoder, ids: list[int]) -> list[str]:
    """Two words that the tokenizer certainly knows, whatever the language.

    A vocabulary can hold a word twice, at the end of a text and within it.
    """
    words: list[str] = []
    for i in ids:
        word = str(cast(Any, text.tokenizer).decode([i])).strip().lower()
        if word.isalnum() and word not in words:
            words.append(word)
        if len(words) == 2:
            break
    return words


def _check_factor(name: str, vae: Autoencoder, source: Source, replacement: Source | None) -> None:
    """Check a replacement's factor against that of the model's own autoencoder."""
    own = source.folder / "vae" / "config.json"
    if replacement is None or not own.is_file():
        return
    try:
        expected = downsampling(read_object(own, name))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # the model's own is not used
    factor = downsampling(cast(Any, vae.config))
    if factor != expected:
        raise UserError(
            f"vae {replacement.name}: its latents are {factor} times smaller than images, those of "
            f"the {name} {expected} times; remove `vae` from the config, or use an autoencoder "
            "trained for the latents of this prior"
        )


def _try_autoencoder(name: str, vae: Autoencoder) -> None:
    """Check the factor and the number of channels of the latents against the configuration."""
    config = cast(Any, vae.config)
    if config.get("latents_mean") is not None or config.get("latents_std") is not None:
        raise UserError(
            f"{name}: its vae scales each channel by itself (latents_mean), which gs3d "
            "does not support; use another model"
        )
    factor, channels = downsampling(config), config.latent_channels
    side = 2 * factor
    images = rng.normal((2, 3, side, side), 0, "images").clamp(-1, 1).to(vae.device, vae.dtype)
    with usable(f"{name}: its vae"), torch.no_grad():
        encoded = cast(Any, vae.encode(images))
        z = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
    if tuple(z.shape[1:]) != (channels, 2, 2) or not z.isfinite().all():
        raise UserError(
            f"{name}: its vae makes latents of {tuple(z.shape[1:])} from images of "
            f"{side}², not finite ones of {(channels, 2, 2)}; {_AGAIN}"
        )
    if torch.equal(z[0], z[1]):
        raise UserError(f"{name}: its vae gives the same latents for different images; {_AGAIN}")


def _try_network(name: str, network: str, parts: Components, text: torch.Tensor) -> None:
    """Check that predictions are finite, and differ with the prompt: `text` is [2, L, E]."""
    backbone = parts.backbone
    config = cast(Any, backbone.config)
    side = config.sample_size
    if config.get("down_block_types") is not None:
        # A U-Net takes any size that its levels can halve. A small one is enough.
        side = min(side, 2 ** len(config.down_block_types))
    z = rng.normal((1, config.in_channels, side, side), 0, "latent").to(backbone.device)
    sigma = torch.ones(1, device=z.device)
    with usable(f"{name}: {network}"):
        denoiser = Network(backbone, parts.scaling)
        one, other = (denoiser.denoise(z, sigma, text[i : i + 1]) for i in (0, 1))
        output = one - parts.scaling.c_skip(sigma[:, None, None, None]) * z
    if one.shape != z.shape or not one.isfinite().all():
        raise UserError(
            f"{name}: {network} does not give finite numbers of the size of its input; {_AGAIN}"
        )
    # A network that was hardly trained gives nearly nothing, whatever the text.
    is_trained = output.abs().max() > UNTRAINED * z.abs().max()
    if is_trained and (one - other).abs().max() <= SAME * one.abs().max():
        raise UserError(f"{name}: {network} ignores the text; {_AGAIN}")


_AGAIN = "download the model again, or use another"
