"""The built-in prior as it is trained: network and text encoder as one module, its loss, and how it begins from an earlier one."""

from pathlib import Path

import torch
from torch import Tensor, nn

from gs3d.priors import builtin, load
from gs3d.priors.network import encode, predict
from gs3d.priors.scalings import Edm


class Denoiser(nn.Module):
    """Network and text encoder, trained together."""

    def __init__(self, backbone: nn.Module, text_encoder: nn.Module):
        super().__init__()
        self.backbone, self.text_encoder = backbone, text_encoder
        self.scaling = Edm(builtin.SIGMA_DATA)

    def forward(self, z: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """D(z, σ, y): z [B, 3, S, S], σ [B], tokens [B, L] → [B, 3, S, S] float32."""
        s = sigma[:, None, None, None]
        text = encode(self.text_encoder, tokens)
        f = predict(self.backbone, self.scaling.c_in(s) * z, self.scaling.c_noise(sigma), text)
        return self.scaling.c_skip(s) * z + self.scaling.c_out(s) * f.float()


def loss_of(model: nn.Module, z0: Tensor, sigma: Tensor, noise: Tensor, tokens: Tensor) -> Tensor:
    """Karras et al. 2022, Eq. 2, a scalar.

    Their λ(σ) = 1/s² + 1/σ², s the spread of the data, with the noise's part bounded: a network of large patches cannot draw details that
    are finer than its σ_data, and would spend itself on them.
    """
    weight = 1 / builtin.DATA_STD**2 + 1 / (sigma**2 + builtin.SIGMA_DATA**2)
    error = model(z0 + sigma[:, None, None, None] * noise, sigma, tokens) - z0
    return (weight[:, None, None, None] * error**2).mean()


@torch.no_grad()
def begin_from(model: Denoiser, tokenizer, folder: Path) -> None:
    """Copy the weights of the model in `folder`, of the same shape but for the words it knows and the length of its captions.

    A word that both know keeps its embedding, whatever its number; positions beyond the old length begin as the old last one, where
    a caption is as good as always padding.
    """
    old = load(folder, "cpu")  # float32; on a GPU it would come in half precision
    if old.network.scaling != model.scaling or not getattr(
        old.text.model.config, "sum_at_padding", False
    ):
        raise ValueError(
            f"{folder}: was trained with other scalings ({old.network.scaling}) or texts, and its weights mean something else"
        )
    # Where a patch stands is not learnt but computed, for the size of the picture: a grid of views is begun from single ones.
    computed = "pos_embed.pos_embed"
    try:
        model.backbone.load_state_dict(
            old.network.backbone.state_dict() | {computed: model.backbone.state_dict()[computed]}
        )
    except RuntimeError as error:
        raise ValueError(f"{folder}: a network of another shape") from error
    known = old.text.tokenizer.get_vocab()
    shared = [(row, known[word]) for word, row in tokenizer.get_vocab().items() if word in known]
    rows, old_rows = (list(r) for r in zip(*shared, strict=True))
    trained = old.text.model.state_dict()
    for name, weight in model.text_encoder.state_dict().items():
        if name.endswith("token_embedding.weight"):
            weight[rows] = trained[name][old_rows].to(weight.device)
        elif name.endswith("position_embedding.weight"):
            last = len(trained[name]) - 1
            weight.copy_(trained[name][torch.arange(len(weight)).clamp_max(last)])
        elif weight.is_floating_point():
            weight.copy_(trained[name])
