"""CLIP scores of rendered assets (Radford et al. 2021), with the shipped CLIP model or any other.

Models are loaded with transformers.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.priors.loading.parts import quiet
from gs3d.representations.asset import Asset, draw

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTextConfig, CLIPVisionConfig, PreTrainedTokenizerBase

VIEWS, ELEVATION_DEG = 120, 15.0
CHUNK = 8
BUILTIN = "builtin"
"""Name of the shipped model (`pretraining.clip`). It is small and trained only on the procedural
world."""
FOLDER = Path(__file__).parent / "weights" / "clip"


@dataclass(frozen=True)
class ClipMetrics:
    """CLIP metrics of the views of an asset."""

    r_precision: float | None
    """Share of the views that match the asset's own prompt best among all prompts of an evaluation
    (Park et al. 2021), in [0, 1]; None with fewer than two prompts."""
    similarity: float
    """Mean cosine similarity of the views and the prompt."""


@dataclass(frozen=True)
class Clip:
    """A CLIP model with its input image size and normalization."""

    name: str
    weights: str
    """Hash of the weight files of a local folder, or commit of a hub model."""
    model: "CLIPModel"
    tokenizer: "PreTrainedTokenizerBase"
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @staticmethod
    def load(name: str, device: str | None = None) -> "Clip":
        """Load `BUILTIN`, a hub id such as "openai/clip-vit-large-patch14", or a folder.

        The default device is a GPU if there is one. Weights are in half precision on a GPU. Raises
        `UserError` if the model cannot be loaded.
        """
        with quiet():  # without torchvision, transformers prints a warning that does not matter
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
                model, loaded = cast(
                    "tuple[CLIPModel, dict[str, Any]]",
                    CLIPModel.from_pretrained(source, torch_dtype=dtype, output_loading_info=True),
                )
                tokenizer, image_processor = (
                    AutoTokenizer.from_pretrained(source),
                    CLIPImageProcessor.from_pretrained(source),
                )
            # transformers would silently fill missing weights with random numbers.
            if missing := loaded["missing_keys"]:
                raise ValueError(f"{len(missing)} of its weights are missing")
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"--scorer {name}: no CLIP model that can be read ({reason});"
                f" expected {BUILTIN}, a hub id or a folder"
            ) from None
        # transformers wraps `to` in a way that hides its parameters.
        model = model.to(device)  # pyright: ignore[reportArgumentType]
        model = model.eval().requires_grad_(False)
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
            cast("int", cast("CLIPVisionConfig", model.config.vision_config).image_size),
            tuple(image_processor.image_mean),
            tuple(image_processor.image_std),
        )

    @torch.no_grad()
    def texts(self, prompts: list[str]) -> Tensor:
        """Embed P prompts as unit vectors [P, E], on the CPU in float32."""
        config = cast("CLIPTextConfig", self.model.config.text_config)
        longest = config.max_position_embeddings
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
        """Embed images [B, H, W, 3] in [0, 1] as unit vectors [B, E], on the CPU in float32."""
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
    """Return whether the scorer is limited to prompts of the procedural world.

    True for `BUILTIN`, and for None, which stands for the classifier alone.
    """
    return scorer in (None, BUILTIN)


def embed_texts(model: "CLIPModel", tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Embed tokens [P, L] with mask [P, L] as unit vectors [P, E], float32."""
    hidden = model.text_model(input_ids=tokens, attention_mask=attention_mask).pooler_output
    return functional.normalize(model.text_projection(hidden).float(), dim=1)


def embed_pictures(model: "CLIPModel", images: Tensor) -> Tensor:
    """Embed images [B, 3, S, S], normalized for the model, as unit vectors [B, E], float32."""
    hidden = model.vision_model(images).pooler_output
    return functional.normalize(model.visual_projection(hidden).float(), dim=1)


@torch.no_grad()
def clip_metrics(asset: Asset, clip: Clip, texts: Tensor, right: int) -> ClipMetrics:
    """Score 120 views at even azimuths, the protocol of Consistent3D.

    `texts` [P, E] are the embeddings of all prompts; row `right` is the asset's own prompt.
    """
    cameras = ring(VIEWS, clip.size_px, ELEVATION_DEG)
    similarity = []
    for at in range(0, VIEWS, CHUNK):
        out = draw(asset, cameras[at : at + CHUNK], (LIGHT_GRAY, LIGHT_GRAY, LIGHT_GRAY))
        similarity.append(clip.pictures(out.rgb.clamp(0, 1)) @ texts.T)
    return metrics_of(torch.cat(similarity), right)


def metrics_of(similarity: Tensor, right: int) -> ClipMetrics:
    """Compute the metrics from the cosine similarities [V, P] of V views and P prompts."""
    alone = similarity.shape[1] < 2
    return ClipMetrics(
        None if alone else (similarity.argmax(1) == right).float().mean().item(),
        similarity[:, right].mean().item(),
    )
