"""What a prior takes of a card, by the headers of its files (`planning.vram`)."""

from dataclasses import dataclass
from math import prod

import torch

from gs3d.core.errors import UserError
from gs3d.priors.latent import vae_dtype
from gs3d.priors.loading.components import NETWORKS, TEXT_ENCODERS, Source, backbone_part
from gs3d.priors.loading.headers import check_headers, read_object
from gs3d.priors.loading.weights import weight_files

TINY: dict[tuple[int, float], str] = {
    (4, 0.18215): "taesd",
    (4, 0.13025): "madebyollin/taesdxl",
    (16, 1.5305): "madebyollin/taesd3",
    (16, 0.3611): "madebyollin/taef1",
}
"""(Channels, scaling factor) of an autoencoder → a tiny one that was trained for its latents: of
Stable Diffusion 1 and 2, XL, 3 and FLUX.1."""
LARGEST_PX = 1024
"""Side of images that is assumed where a model does not say it."""


@dataclass(frozen=True)
class Model:
    """What a prior takes of a card, as its files say."""

    weights_gb: float
    """Network and autoencoder, in the precision that they have on the card."""
    text_gb: float
    """Text encoders, the same."""
    area: float
    """Area of an image in units of 512²; 0 without an autoencoder."""
    tiny: str | None
    """A tiny autoencoder for its latents; None if there is none."""
    wide: float = 1.0
    """Size of the numbers of the autoencoder in those of bfloat16: 2 on a card without it."""


def model_of(source: Source, device: str) -> Model:
    """What the model in a folder takes on a card, by the headers of its files."""
    wide = vae_dtype(torch.device(device)).itemsize / 2
    part = backbone_part(source.index)
    # Those that `components.read` does not load in float16.
    kept = {"vae", *([part] if source.family.is_bfloat16 else [])}
    kept |= {name for name, (_, cls) in source.index.items() if cls.startswith("T5")}
    sizes = {
        name: _gb(source, name) * (wide if name in kept else 1.0)
        for name in NETWORKS
        if name in source.index
    }
    text = sum(sizes.pop(name, 0.0) for name in TEXT_ENCODERS)
    if source.in_pixels:
        return Model(sum(sizes.values()), text, 0.0, None, wide)
    vae = read_object(source.folder / "vae" / "config.json", f"prior {source.name}: its vae")
    try:
        latents = (int(vae["latent_channels"]), float(vae["scaling_factor"]))
    except (KeyError, TypeError, ValueError):
        latents = (0, 0.0)  # reading the model says what is wrong
    side = source.image_size or LARGEST_PX
    return Model(sum(sizes.values()), text, (side / 512) ** 2, TINY.get(latents), wide)


def _gb(source: Source, part: str) -> float:
    folder = source.folder / part
    try:
        shapes = check_headers(part, folder, weight_files(folder, half=True)).shapes
    except UserError:
        return 0.0  # reading the model says what is wrong
    return 2e-9 * sum(map(prod, shapes.values()))
