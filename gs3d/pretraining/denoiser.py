"""The built-in prior in training: network and text encoder as one module, loss, and warm start."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from gs3d.priors import builtin, load
from gs3d.priors.families.builtin import predict
from gs3d.priors.network import encode
from gs3d.priors.plain.text import PREFIX
from gs3d.priors.scalings import Edm
from gs3d.world.captions import vocabulary_texts
from gs3d.world.places import meaning

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
    from transformers import CLIPTextModel

    from gs3d.priors.latent import LatentPrior
    from gs3d.priors.pixel import PixelPrior


class Denoiser(nn.Module):
    """Network and text encoder, trained together."""

    def __init__(self, backbone: "SD3Transformer2DModel", text_encoder: "CLIPTextModel"):
        super().__init__()
        self.backbone, self.text_encoder = backbone, text_encoder
        self.scaling = Edm(builtin.SIGMA_DATA)

    def forward(self, z: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """Denoise: D(z, σ, y) [B, 3, S, S] float32 for z [B, 3, S, S], σ [B] and tokens [B, L]."""
        s = sigma[:, None, None, None]
        text = encode(self.text_encoder, tokens)
        f = predict(self.backbone, self.scaling.c_in(s) * z, self.scaling.c_noise(sigma), text)
        return self.scaling.c_skip(s) * z + self.scaling.c_out(s) * f.float()


World = Literal["objects", "places"]


def new_tokenizer(world: World):
    """Tokenizer of the captions of objects, or of places (`world.places`) too."""
    texts = vocabulary_texts()
    if world == "objects":
        return builtin.new_tokenizer(texts)
    return builtin.new_tokenizer([*texts, *meaning.vocabulary_texts()], meaning.MAX_TOKENS)


def new_model(size_px: int, views: int, tokenizer) -> Denoiser:
    """Return an untrained model for single images, or for 2×2 grids of views."""
    size = size_px * (2 if views > 1 else 1)
    return Denoiser(builtin.new_backbone(size), builtin.new_text_encoder(tokenizer))


def loss_of(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    z0: Tensor,
    sigma: Tensor,
    noise: Tensor,
    tokens: Tensor,
) -> Tensor:
    """Return the denoising loss of Karras et al. 2022, Eq. 2, a scalar.

    The paper's weight is λ(σ) = 1/s² + 1/σ², where s is the standard deviation of the data. Here
    the second term is bounded. A network of large patches cannot draw details finer than its
    σ_data, and would otherwise spend its capacity on them.
    """
    weight = 1 / builtin.DATA_STD**2 + 1 / (sigma**2 + builtin.SIGMA_DATA**2)
    error = model(z0 + sigma[:, None, None, None] * noise, sigma, tokens) - z0
    return (weight[:, None, None, None] * error**2).mean()


@torch.no_grad()
def begin_from(model: Denoiser, tokenizer, folder: Path) -> None:
    """Initialize `model` with the weights of the trained model in `folder`.

    Vocabulary, caption length and image size may differ. A word known to both models keeps its
    embedding, whatever its token number. Position embeddings beyond the old caption length start
    as the last old one, a position that is almost always padding. Raises `ValueError` if the old
    model has another architecture, another scaling or another text encoding.
    """
    # In float32; on a GPU it would load in half precision.
    old = cast("PixelPrior | LatentPrior", load(folder, "cpu"))
    encoder = old.text.model
    assert encoder is not None  # it has just been loaded
    if old.network.scaling != model.scaling or not getattr(encoder.config, "sum_at_padding", False):
        raise ValueError(
            f"{folder}: incompatible model: it was trained with another scaling"
            f" ({old.network.scaling}) or text encoding; choose another --start"
        )
    # Patch positions are computed for the image size, not learned. Keeping those of `model` lets a
    # grid of views start from a model of single views.
    computed = "pos_embed.pos_embed"
    try:
        model.backbone.load_state_dict(
            old.network.backbone.state_dict() | {computed: model.backbone.state_dict()[computed]}
        )
    except RuntimeError as error:
        raise ValueError(
            f"{folder}: incompatible model: another network architecture; choose another --start"
        ) from error
    known = old.text.tokenizer.get_vocab()
    shared = [(row, known[word]) for word, row in tokenizer.get_vocab().items() if word in known]
    rows, old_rows = (list(r) for r in zip(*shared, strict=True))
    trained = {k.removeprefix(PREFIX): v for k, v in encoder.state_dict().items()}
    for key, weight in model.text_encoder.state_dict().items():
        name = key.removeprefix(PREFIX)
        if name.endswith("token_embedding.weight"):
            weight[rows] = trained[name][old_rows].to(weight.device)
        elif name.endswith("position_embedding.weight"):
            last = len(trained[name]) - 1
            weight.copy_(trained[name][torch.arange(len(weight)).clamp_max(last)])
        elif weight.is_floating_point():
            weight.copy_(trained[name])
