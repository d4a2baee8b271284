"""Training of the built-in prior on world renders: EDM (Karras et al. 2022) with EMA weights.

Runs on a CPU or a GPU and resumes on restart.
"""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gs3d.core.checks import require
from gs3d.core.rng import derive_seed
from gs3d.pretraining import resume
from gs3d.pretraining.attention import plain_attention
from gs3d.pretraining.captioned import Captioned
from gs3d.pretraining.denoiser import (
    Denoiser,
    World,
    begin_from,
    loss_of,
    new_model,
    new_tokenizer,
)
from gs3d.pretraining.optimizers import optimizers_of
from gs3d.pretraining.precision import precision
from gs3d.priors import builtin
from gs3d.priors.images import to_network
from gs3d.priors.loading.components import views_of
from gs3d.priors.multiview import to_grid
from gs3d.world.dataset import Dataset
from gs3d.world.kinds import KINDS


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training run."""

    dataset: Path
    """Directory of shards rendered by scripts/render_world.py."""
    out: Path
    """Output directory of the checkpoint, the log and the model."""
    start: Path | None = None
    """Directory of an earlier model of this trainer whose weights to start from. Words that it
    does not know start untrained."""
    images: int = 600_000
    """Total training images, counting repeats."""
    batch: int = 32
    """Images per step."""
    world: World = "objects"
    """What the dataset shows, and so the words of captions: objects, or places seen from inside
    (`world.places`)."""
    views: Literal[1, 4] = 1
    """4 trains a prior that denoises four views of an object jointly (`priors.multiview`); it
    needs a dataset rendered with --together 4."""
    size_px: int = builtin.IMAGE_SIZE
    """Side of an image; must match the dataset. A training step and a run with the prior take four
    times as long at 128 as at 64."""
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    muon_lr: float = 0.01
    """Peak learning rate of Muon (see `pretraining.optimizers`)."""
    rarer: tuple[str, ...] = ()
    """Kinds to sample half as often as the others, such as those the prior draws well already."""
    warmup_images: int = 2_000
    """Images over which the learning rates rise linearly."""
    decay_images: int = 150_000
    """Images after which the learning rates fall with the square root of the images seen (Karras et
    al. 2024, EDM2)."""
    cooldown_images: int = 300_000
    """Last images, over which the learning rates fall linearly to zero."""
    ema_fraction: float = 0.06
    """EMA half-width as a share of the images seen so far, so that early weights are forgotten."""
    dropout: float = 0.1
    """Share of captions replaced by the empty caption, for classifier-free guidance."""
    sigma_mean: float = 0.8
    """Mean of ln σ of the training noise."""
    sigma_std: float = 1.4
    """Standard deviation of ln σ of the training noise: ln σ ~ N(mean, std²). The noise is stronger
    than EDM's (mean −1.2). Images of 64² this plain can be told apart even at σ = 4, so at EDM's
    levels the network would see the object in the noise and never need the caption."""
    save_every_s: float = 300.0
    """Seconds between checkpoints."""
    stop_after_s: float = float("inf")
    """Seconds after which to write a checkpoint and stop; the same command resumes."""
    cooldown_s: float = 0.0
    """Also lower the learning rates to zero over this many seconds before `stop_after_s`, for a
    training with a deadline. Such a training is not reproducible to the bit, and resuming it starts
    at the full rates again."""
    log_every: int = 25
    """Steps between rows of log.jsonl."""
    seed: int = 0
    """Seed of weights, batch order and noise."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Device to train on."""
    half: bool | None = None
    """Use bfloat16 autocast. Default: only on a GPU. On a CPU it helps with AVX-512 BF16 or AMX,
    together with `compile`."""
    compile: bool = False
    """Compile the network with torch.compile: a minute or more at the start, then faster."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for settings out of range."""
        divisible = self.batch > 0 and self.batch % self.views == 0
        require(
            "batch",
            self.batch,
            divisible,
            f"a multiple of {self.views}" if self.views > 1 else "1 or more",
        )
        divisible = self.size_px > 0 and self.size_px % builtin.PATCH == 0
        require("size_px", self.size_px, divisible, f"a multiple of {builtin.PATCH}")
        fits = self.cooldown_s == 0 or 0 < self.cooldown_s <= self.stop_after_s < float("inf")
        require("cooldown_s", self.cooldown_s, fits, "0, or at most a finite stop_after_s")
        unknown = sorted(set(self.rarer) - set(KINDS))
        require(
            "rarer", ", ".join(unknown), not unknown, f"kinds of the world ({', '.join(KINDS)})"
        )


def pace(config: FitConfig, seen: int, elapsed_s: float = 0.0) -> float:
    """Return the learning rates after `seen` images as a share of their peaks.

    `elapsed_s` is the time since this process started to train.
    """
    rate = min(1.0, seen / config.warmup_images) * min(
        1.0, (config.decay_images / max(seen, 1)) ** 0.5
    )
    if config.cooldown_s > 0:
        rate *= min(1.0, max(config.stop_after_s - elapsed_s, 0.0) / config.cooldown_s)
    return rate * min(1.0, max(config.images - seen, 0) / config.cooldown_images)


def epoch_of(dataset: Dataset, rarer: tuple[str, ...], views: int = 1) -> np.ndarray:
    """Return the images of an epoch as indices into the dataset.

    Each image occurs once. If there are `rarer` kinds, images of all other kinds occur twice. A
    group of `views` images is represented by its first image.
    """
    times = [2 if rarer and label["kind"] not in rarer else 1 for label in dataset.labels[::views]]
    return np.repeat(np.arange(0, len(dataset), views), times)


def draw(
    config: FitConfig, data: Captioned, indices: np.ndarray, seed: int, seen: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (z0, σ, noise, tokens) of one batch, functions of (indices, seed, seen).

    `indices` are those of single images, or of the first image of each group.
    """
    rows = (indices[:, None] + np.arange(config.views)).reshape(-1)
    images, tokens, gen = data.batch(rows, config.dropout, seed, seen)
    z0 = to_network(images, config.size_px)
    if config.views > 1:
        z0, tokens = to_grid(z0), tokens[:: config.views]
    sigma = (
        config.sigma_mean + config.sigma_std * torch.randn(len(z0), generator=gen, device=z0.device)
    ).exp()
    return z0, sigma, torch.randn(z0.shape, generator=gen, device=z0.device), tokens


def fit(config: FitConfig) -> int:
    """Train until `config.images` or `config.stop_after_s`, and return the number of images seen.

    Writes a checkpoint every `save_every_s`. Each time, it also logs the loss of the EMA weights on
    a fixed batch and writes these weights to `out/model`. Raises `ValueError` if the dataset or an
    earlier training in `out` does not fit the settings.
    """
    with plain_attention() if config.device == "cpu" else contextlib.nullcontext():
        return _fit(config)


def _fit(config: FitConfig) -> int:
    config.out.mkdir(parents=True, exist_ok=True)
    tokenizer = new_tokenizer(config.world)
    torch.manual_seed(derive_seed(config.seed, "initial weights"))
    if (config.out / "model" / "model_index.json").exists() and views_of(
        config.out / "model"
    ) != config.views:
        raise ValueError(
            f"{config.out}: contains a training with another number of views, not {config.views};"
            " choose another --out"
        )
    model = new_model(config.size_px, config.views, tokenizer).to(config.device)
    if config.start is not None and not resume.begun(config.out):
        begin_from(model, tokenizer, config.start)
    optimizers = optimizers_of(model, config.lr, config.muon_lr)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    seen = resume.resume(config.out, {"model": model, "ema": average}, optimizers)
    # After resuming, because loading replaces the parameter groups.
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    weights: list[Tensor] = list(model.parameters())
    averages = [average[k] for k, _ in model.named_parameters()]
    forward = torch.compile(model) if config.compile else model
    data = Captioned.open(Dataset.open(config.dataset), tokenizer, config.device)
    if (side := data.pictures.dataset.images[0].shape[1]) != config.size_px:
        raise ValueError(
            f"{config.dataset}: contains images of {side} pixels, not {config.size_px};"
            f" render it with --size-px {config.size_px}"
        )
    if config.views > 1 and not in_groups(data.pictures.dataset, config.views):
        raise ValueError(
            f"{config.dataset}: expected {config.views} consecutive views of each object;"
            f" render it with --together {config.views}"
        )
    epoch = epoch_of(data.pictures.dataset, config.rarer, config.views)
    groups = config.batch // config.views
    log = open(config.out / "log.jsonl", "a")  # noqa: SIM115 - open for the whole run
    started = saved = time.monotonic()
    recent: list[Tensor] = []
    done = seen >= config.images
    while not done:
        indices = epoch[resume.batch_indices(len(epoch), groups, config.seed, seen // config.views)]
        rate = pace(config, seen, time.monotonic() - started)
        for group, peak in peaks:
            group["lr"] = peak * rate
        with precision(config.device, config.half):
            loss = loss_of(forward, *draw(config, data, indices, config.seed, seen))
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen += config.batch
        keep = max(0.0, 1 - config.batch / max(config.ema_fraction * seen, config.batch))
        with torch.no_grad():
            # torch's types do not export it.
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                averages, weights, 1 - keep
            )
        recent.append(loss.detach())
        now = time.monotonic()
        done = seen >= config.images or now - started > config.stop_after_s
        if len(recent) == config.log_every:
            _write(log, images=seen, loss=_mean(recent), elapsed_s=now - started)
            recent = []
        if done or now - saved > config.save_every_s:
            resume.save(config.out, seen, {"model": model, "ema": average}, optimizers)
            _write(
                log,
                images=seen,
                ema_loss=_fixed_loss(config, average, data, tokenizer),
                elapsed_s=now - started,
            )
            saved = time.monotonic()
    log.close()
    return seen


def in_groups(dataset: Dataset, views: int) -> bool:
    """Return whether each `views` consecutive images show one object, judging by their captions."""
    rows = [(row["caption"], row["normals"]) for row in dataset.labels]
    return len(rows) % views == 0 and all(
        len(set(rows[at : at + views])) == 1 for at in range(0, len(rows), views)
    )


def _averaged(config: FitConfig, average: dict[str, Tensor], tokenizer) -> Denoiser:
    model = new_model(config.size_px, config.views, tokenizer)
    model.load_state_dict({k: v.cpu() for k, v in average.items()})
    return model.eval()


@torch.no_grad()
def _fixed_loss(
    config: FitConfig, average: dict[str, Tensor], data: Captioned, tokenizer, count: int = 128
) -> float:
    """Write the averaged weights to `out/model` and return their loss on a fixed batch.

    The batch always has the same `count` images of the dataset and the same noise.
    """
    model = _averaged(config, average, tokenizer)
    builtin.save(config.out / "model", model.backbone, model.text_encoder, tokenizer, config.views)
    model.to(config.device)
    # Shuffled, because a shard starts with few camera directions (core.cameras.sample_cameras).
    fixed = (
        config.views
        * np.random.default_rng(0).permutation(len(data) // config.views)[: count // config.views]
    )
    return float(loss_of(model, *draw(config, data, fixed, -1, 0)))


def _mean(losses: list[Tensor]) -> float:
    return float(torch.stack(losses).mean())


def _write(log, **row: float) -> None:
    log.write(
        json.dumps({k: v if isinstance(v, int) else round(v, 5) for k, v in row.items()}) + "\n"
    )
    log.flush()
