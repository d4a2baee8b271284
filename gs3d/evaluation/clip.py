"""How well pictures of an object fit a prompt: CLIP (Radford et al. 2021) through transformers, ours of the world or any other."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.priors.loading.components import quiet
from gs3d.representations.asset import Asset, draw

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerBase

VIEWS, ELEVATION_DEG = 120, 15.0
CHUNK = 8
BUILTIN = "builtin"
"""The name of the model that is shipped (`fitting.clip`): small, and it knows the world and nothing else."""
FOLDER = Path(__file__).parent / "weights" / "clip"


@dataclass(frozen=True)
class ClipMetrics:
    """What CLIP says of the views of an object."""

    r_precision: float | None
    """Share of views whose nearest text, of all the prompts of an evaluation, is the object's own (Park et al. 2021); None if there is
    no other."""
    similarity: float
    """Mean cosine between views and prompt."""


@dataclass(frozen=True)
class Clip:
    """A CLIP model and what its pictures have to look like."""

    name: str
    weights: str
    """A hash of the files in its folder; of a model from the hub, its commit."""
    model: "CLIPModel"
    tokenizer: "PreTrainedTokenizerBase"
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def load(name: str, device: str | None = None) -> "Clip":
        """`BUILTIN`, a hub id such as "openai/clip-vit-large-patch14", or a folder; half precision on a GPU.

        `UserError` if it cannot be read.
        """
        with quiet():  # transformers warns at this import that torchvision is missing, which nothing here asks for
            from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float16 if device.startswith("cuda") else torch.float32
        folder = str(FOLDER) if name == BUILTIN else os.path.expanduser(name)
        if name == BUILTIN and not FOLDER.is_dir():
            raise UserError(
                f"--scorer {name}: no weights in {FOLDER}; train them with scripts/train_clip.py"
            )
        source = folder if os.path.isdir(folder) else name
        try:
            with quiet():
                model, loaded = CLIPModel.from_pretrained(
                    source, torch_dtype=dtype, output_loading_info=True
                )
                tokenizer, pictures = (
                    AutoTokenizer.from_pretrained(source),
                    CLIPImageProcessor.from_pretrained(source),
                )
            if missing := loaded[
                "missing_keys"
            ]:  # transformers would go on with random numbers in their place
                raise ValueError(f"{len(missing)} of its weights are missing")
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"--scorer {name}: no CLIP model that can be read ({reason}); expected a hub id or a folder"
            ) from None
        model = model.to(device).eval().requires_grad_(False)
        files = sorted(Path(source).glob("*.safetensors")) if os.path.isdir(source) else []
        weights = (
            hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
            if files
            else str(model.config._commit_hash)
        )
        return Clip(
            name,
            weights,
            model,
            tokenizer,
            model.config.vision_config.image_size,
            tuple(pictures.image_mean),
            tuple(pictures.image_std),
        )

    @torch.no_grad()
    def texts(self, prompts: list[str]) -> Tensor:
        """[P, E] of unit length, on the CPU in float32."""
        longest = self.model.config.text_config.max_position_embeddings
        parts = []
        for at in range(0, len(prompts), 64):
            words = self.tokenizer(
                prompts[at : at + 64],
                padding=True,
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            )
            words = words.to(self.model.device)
            parts.append(embed_texts(self.model, words.input_ids, words.attention_mask).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """[B, H, W, 3] in [0, 1] → [B, E] of unit length, on the CPU in float32."""
        x = images.permute(0, 3, 1, 2).float().to(self.model.device)
        x = functional.interpolate(
            x,
            size=(self.size_px, self.size_px),
            mode="bicubic",
            antialias=True,
            align_corners=False,
        ).clamp(0, 1)
        mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (self.mean, self.std))
        return embed_pictures(self.model, ((x - mean) / std).to(self.model.dtype)).cpu()


def knows_the_world_alone(scorer: str | None) -> bool:
    """Whether prompts of other things cannot be marked with this scorer, or with none."""
    return scorer in (None, BUILTIN)


def embed_texts(model: "CLIPModel", tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """[P, L] each → [P, E] of unit length, float32."""
    hidden = model.text_model(input_ids=tokens, attention_mask=attention_mask).pooler_output
    return functional.normalize(model.text_projection(hidden).float(), dim=1)


def embed_pictures(model: "CLIPModel", pictures: Tensor) -> Tensor:
    """[B, 3, S, S], normalized as the model wants them → [B, E] of unit length, float32."""
    hidden = model.vision_model(pictures).pooler_output
    return functional.normalize(model.visual_projection(hidden).float(), dim=1)


@torch.no_grad()
def clip_metrics(asset: Asset, clip: Clip, texts: Tensor, right: int) -> ClipMetrics:
    """Of 120 views at even azimuths, as Consistent3D measures.

    `texts` [P, E] are those of all prompts, `right` is the row of the object's own.
    """
    cameras = ring(VIEWS, clip.size_px, ELEVATION_DEG)
    similarity = []
    for at in range(0, VIEWS, CHUNK):
        out = draw(asset, cameras[at : at + CHUNK], (LIGHT_GRAY,) * 3)
        similarity.append(clip.pictures(out.rgb.clamp(0, 1)) @ texts.T)
    return metrics_of(torch.cat(similarity), right)


def metrics_of(similarity: Tensor, right: int) -> ClipMetrics:
    """From cosines of views and texts, [V, P]."""
    alone = similarity.shape[1] < 2
    return ClipMetrics(
        None if alone else (similarity.argmax(1) == right).float().mean().item(),
        similarity[:, right].mean().item(),
    )
