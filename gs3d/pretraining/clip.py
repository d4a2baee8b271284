"""Training of the small CLIP of the procedural world (Radford et al. 2021); resumes on restart."""

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from gs3d.core.rng import derive_seed, generator
from gs3d.evaluation.augment import augment, backgrounds
from gs3d.evaluation.clip import FOLDER, Clip, clip_metrics, embed_pictures, embed_texts, metrics_of
from gs3d.evaluation.reference import reference_splats
from gs3d.pretraining import resume
from gs3d.pretraining.attention import plain_attention
from gs3d.pretraining.common import TrainingConfig, provenance, train
from gs3d.pretraining.optimizers import optimizers_of
from gs3d.pretraining.precision import precision
from gs3d.pretraining.renders import on_the_ring, rendered
from gs3d.priors.builtin import MAX_TOKENS, new_tokenizer
from gs3d.world.captions import PREFIXES, vocabulary_texts
from gs3d.world.colors import NAMED
from gs3d.world.dataset import Stored
from gs3d.world.kinds import KINDS
from gs3d.world.sample import Sample, sample

if TYPE_CHECKING:
    from transformers import CLIPModel, PreTrainedTokenizerFast

SIZE_PX = 64
MEAN, STD = 0.5, 0.25
"""Approximate mean and standard deviation of world renders, per color channel."""
MAX_SCALE = math.log(100.0)
"""Upper bound of the learned log temperature."""


@dataclass(frozen=True)
class FitConfig(TrainingConfig):
    """Settings of a training run."""

    weights: Path = FOLDER
    """Output directory of the model and of its metrics, marks.json."""
    test_seed: int = 1003
    """Seed of the test objects."""
    images: int = 600_000
    """Total training images, counting repeats."""
    batch: int = 256
    """Images per step; the loss contrasts each with the captions of all others in its batch."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    muon_lr: float = 0.01
    """Peak learning rate of Muon (see `pretraining.optimizers`)."""
    warmup_images: int = 8_000
    """Images over which the learning rates rise linearly."""
    prefix_share: float = 1 / 3
    """Share of captions with a prefix such as "a photo of"."""
    compile: bool = False
    """Compile the model with torch.compile."""
    log_every: int = 20
    """Steps between rows of log.jsonl."""


def new_model(tokenizer: "PreTrainedTokenizerFast") -> "CLIPModel":
    """Return an untrained model of 1.7 M parameters.

    It has four layers of width 160 over 8×8 patches, and two layers of width 128 over words.
    """
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "hidden_size": 160,
        "intermediate_size": 640,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SIZE_PX,
        "patch_size": 8,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


class Pair(nn.Module):
    """Image and text encoder as one module."""

    def __init__(self, model: "CLIPModel"):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images [B, 3, S, S] and tokens [B, L] with mask [B, L] as unit vectors.

        Returns the embeddings of images and of texts, [B, E] each, float32.
        """
        return embed_pictures(self.model, images), embed_texts(self.model, tokens, mask)


def loss_of(logits: Tensor, meaning: Tensor) -> Tensor:
    """Return the symmetric contrastive loss of logits [B, B], images × texts; a scalar.

    It is the mean of the cross entropies along rows and along columns. Pairs of different images
    with the same `meaning` [B] are excluded: each describes the other correctly.
    """
    same = (meaning[:, None] == meaning) & ~torch.eye(
        len(meaning), dtype=torch.bool, device=meaning.device
    )
    logits = logits.masked_fill(same, -math.inf)
    right = torch.arange(len(logits), device=logits.device)
    return 0.5 * (
        nn.functional.cross_entropy(logits, right) + nn.functional.cross_entropy(logits.T, right)
    )


def meanings(labels: list[dict]) -> Tensor:
    """Number the distinct meanings of dataset labels, [N]; wording and view are ignored."""
    texts = [
        json.dumps(
            {k: v for k, v in row.items() if k not in ("caption", "view", "exact_view", "normals")}
        )
        for row in labels
    ]
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return torch.tensor([numbers[text] for text in texts])


def said(captions: list[str], rng: np.random.Generator, share: float) -> list[str]:
    """Put a random prefix before a `share` of the captions."""
    return [
        f"{rng.choice(PREFIXES)} {caption}" if rng.random() < share else caption
        for caption in captions
    ]


def fit(config: FitConfig) -> dict:
    """Train, write the model and its metrics, and return the metrics."""
    if not config.metrics_only:
        with plain_attention() if config.device == "cpu" else contextlib.nullcontext():
            _fit(config)
    path = config.weights / "marks.json"
    metrics = provenance(config, path) | metrics_on_renders(
        Clip.load(str(config.weights), "cpu"), config.test_seed
    )
    path.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def _fit(config: FitConfig) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    dataset, tokenizer = (
        rendered(config.dataset, config.seed, config.shards, config.device),
        new_tokenizer(vocabulary_texts()),
    )
    torch.manual_seed(derive_seed(config.seed, "initial clip weights"))
    # transformers wraps `to` in a way that hides its parameters.
    model = new_model(tokenizer).to(config.device)  # pyright: ignore[reportArgumentType]
    pair = torch.compile(Pair(model)) if config.compile else Pair(model)
    optimizers = optimizers_of(model, config.lr, config.muon_lr)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    meaning, captions = (
        meanings(dataset.labels).to(config.device),
        [row["caption"] for row in dataset.labels],
    )
    stored = Stored.of(dataset, config.device)

    def step(seen: int) -> Tensor:
        indices = resume.batch_indices(len(dataset), config.batch, config.seed, seen)
        rng = np.random.default_rng(derive_seed(config.seed, "clip", seen))
        background = backgrounds(rng, len(indices)).to(config.device)
        at = torch.from_numpy(indices).to(config.device)
        images = augment(
            stored.rgba(at),
            background,
            generator(config.seed, "clip", seen, device=config.device),
        )
        texts = said([captions[i] for i in indices], rng, config.prefix_share)
        words = tokenizer(texts, padding="max_length", return_tensors="pt").to(config.device)
        with precision(config.device, config.half):
            image_embeds, text_embeds = pair(
                (images - MEAN) / STD, words.input_ids, words.attention_mask
            )
        # Logits in float32: at a scale of 100, bfloat16 could not resolve differences below 0.5.
        loss = loss_of(
            model.logit_scale.clamp_max(MAX_SCALE).exp() * (image_embeds @ text_embeds.T),
            meaning[at],
        )
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * pace(config, seen)
            optimizer.step()
        return loss

    train(config, {"model": model}, optimizers, step)
    save(config.weights, model.cpu(), tokenizer)


def pace(config: FitConfig, seen: int) -> float:
    """Return the learning rates after `seen` images as a share of their peaks.

    The rates rise linearly, then decay along a cosine.
    """
    return (
        min(1.0, seen / config.warmup_images)
        * 0.5
        * (1 + math.cos(math.pi * min(seen / config.images, 1.0)))
    )


def save(folder: Path, model: "CLIPModel", tokenizer: "PreTrainedTokenizerFast") -> None:
    """Write model, tokenizer and image processor as transformers does, weights in float16."""
    import copy

    from transformers import CLIPImageProcessor

    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"size": {"shortest_edge": SIZE_PX}, "crop_size": SIZE_PX}
    CLIPImageProcessor(**size, image_mean=[MEAN] * 3, image_std=[STD] * 3).save_pretrained(folder)


def metrics_on_renders(clip: Clip, seed: int, prompts: int = 256, splats: int = 24) -> dict:
    """Measure R-precision on reference objects.

    The candidate texts are `prompts` random prompts, or every kind in every color. R-precision
    among the random prompts is also measured on 120 views of reference splats, for the first
    `splats` objects: an upper bound for any run.
    """
    rng = np.random.default_rng(derive_seed(seed, "clip marks"))
    anything: dict[str, Sample] = {}
    while len(anything) < prompts:
        random_object = sample(rng)
        anything.setdefault(random_object.meaning.phrase(), random_object)
    plain = {
        o.meaning.phrase(): o
        for o in (sample(rng, kind, color, plain=True) for kind in KINDS for color in NAMED)
    }
    metrics: dict = {"test_seed": seed}
    for name, objects in (("anything", anything), ("plain", plain)):
        texts = clip.texts(list(objects))
        views = on_the_ring(list(objects.values()))
        cosines = torch.cat([clip.pictures(part) for part in views.split(256)]) @ texts.T
        # Not None: there are at least two prompts.
        r_precisions = [
            cast("float", metrics_of(rows, i).r_precision)
            for i, rows in enumerate(cosines.split(8))
        ]
        metrics[name] = {
            "prompts": len(texts),
            "pictures": len(views),
            "r_precision": round(float(np.mean(r_precisions)), 4),
        }
    texts = clip.texts(list(anything))
    each = [
        cast("float", clip_metrics(reference_splats(o.parts), clip, texts, i).r_precision)
        for i, o in enumerate(list(anything.values())[:splats])
    ]
    return metrics | {
        "true_splats": {"objects": splats, "r_precision": round(float(np.mean(each)), 4)}
    }
