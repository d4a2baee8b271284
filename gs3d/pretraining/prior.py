"""Training of the built-in prior on world renders: EDM (Karras et al. 2022) with EMA weights.

Runs on a CPU or a GPU, and resumes where it stopped.
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
from gs3d.pretraining.denoiser import Denoiser, begin_from, loss_of
from gs3d.pretraining.optimizers import optimizers_of
from gs3d.pretraining.precision import precision
from gs3d.priors import builtin
from gs3d.priors.images import to_network
from gs3d.priors.loading.components import views_of
from gs3d.priors.multiview import to_grid
from gs3d.world.captions import vocabulary_texts
from gs3d.world.dataset import Dataset
from gs3d.world.kinds import KINDS


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training run."""

    dataset: Path
    """Folder of rendered shards (scripts/render_world.py)."""
    out: Path
    """Folder for the checkpoint, the log and the finished model."""
    start: Path | None = None
    """Folder of a model trained by this trainer to begin from; words it lacks begin untrained."""
    images: int = 600_000
    """Pictures to train on in all, repeats counted."""
    batch: int = 32
    """Pictures a step."""
    views: Literal[1, 4] = 1
    """4: a prior that looks at four views at once (`priors.multiview`), from a pool rendered with --together 4."""
    size_px: int = builtin.IMAGE_SIZE
    """Side of a picture, as the pool was rendered. At 128 a step takes four times as long as at 64, and so does a run with the prior."""
    lr: float = 1e-3
    """Peak rate of AdamW."""
    muon_lr: float = 0.01
    """Peak rate of Muon (`fitting.optimizers` says what moves what)."""
    rarer: tuple[str, ...] = ()
    """Kinds drawn half as often as the others: those that it draws well already."""
    warmup_images: int = 2_000
    decay_images: int = 150_000
    """From here on the rate falls with the square root of the images seen (Karras et al. 2024, EDM2)."""
    cooldown_images: int = 300_000
    """Over the last so many pictures the rate falls linearly to zero."""
    ema_fraction: float = 0.06
    """EMA half-width as a share of the images seen so far, so that early junk never lingers."""
    dropout: float = 0.1
    """Share of captions replaced by the empty one, for classifier-free guidance."""
    sigma_mean: float = 0.8
    sigma_std: float = 1.4
    """Training noise: ln σ ~ N(mean, std²). More noise than EDM's −1.2: pictures of 64² this plain are told apart even at σ = 4, so at
    the usual levels a network sees the object in the noise and never needs the caption."""
    save_every_s: float = 300.0
    stop_after_s: float = float("inf")
    """Checkpoint and stop after this long, finished or not; the same command goes on."""
    cooldown_s: float = 0.0
    """Also let the rate fall to zero over so many seconds before `stop_after_s`, for a training with a deadline. Such a training cannot
    be repeated to the bit, and when the same command goes on with it, it begins at the full rate again."""
    log_every: int = 25
    """Steps between rows of log.jsonl."""
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    half: bool | None = None
    """Multiply in bfloat16, by default on a GPU. On a CPU it pays where there is AVX-512 BF16 or AMX, together with `compile`."""
    compile: bool = False
    """torch.compile the network: a minute or more at the start, then faster."""

    def __post_init__(self) -> None:
        whole = self.batch > 0 and self.batch % self.views == 0
        require(
            "batch",
            self.batch,
            whole,
            f"a multiple of {self.views}" if self.views > 1 else "1 or more",
        )
        sized = self.size_px > 0 and self.size_px % builtin.PATCH == 0
        require("size_px", self.size_px, sized, f"a multiple of {builtin.PATCH}")
        fits = self.cooldown_s == 0 or 0 < self.cooldown_s <= self.stop_after_s < float("inf")
        require("cooldown_s", self.cooldown_s, fits, "0, or seconds of those in stop_after_s")
        unknown = sorted(set(self.rarer) - set(KINDS))
        require(
            "rarer", ", ".join(unknown), not unknown, f"kinds of the world ({', '.join(KINDS)})"
        )


def pace(config: FitConfig, seen: int, elapsed_s: float = 0.0) -> float:
    """Share of the peak rates after `seen` pictures, `elapsed_s` after this process began to train."""
    rate = min(1.0, seen / config.warmup_images) * min(
        1.0, (config.decay_images / max(seen, 1)) ** 0.5
    )
    if config.cooldown_s > 0:
        rate *= min(1.0, max(config.stop_after_s - elapsed_s, 0.0) / config.cooldown_s)
    return rate * min(1.0, max(config.images - seen, 0) / config.cooldown_images)


def epoch_of(dataset: Dataset, rarer: tuple[str, ...], views: int = 1) -> np.ndarray:
    """Pictures of an epoch, as indices into the pool: each once, and with `rarer` kinds those of the other kinds twice.

    Of a group of `views` pictures only the first is named.
    """
    times = [2 if rarer and label["kind"] not in rarer else 1 for label in dataset.labels[::views]]
    return np.repeat(np.arange(0, len(dataset), views), times)


def draw(
    config: FitConfig, data: Captioned, indices: np.ndarray, seed: int, seen: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(z0, σ, noise, tokens) of one batch, functions of (seed, seen). `indices` name single pictures, or the first of each group."""
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
    """Train until `config.images` pictures were seen or the time is up; the number seen.

    Checkpoints every `save_every_s`; at each, the loss of the EMA weights on a fixed batch is logged, and `out/model` is written from them.
    """
    with plain_attention() if config.device == "cpu" else contextlib.nullcontext():
        return _fit(config)


def _fit(config: FitConfig) -> int:
    config.out.mkdir(parents=True, exist_ok=True)
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    torch.manual_seed(derive_seed(config.seed, "initial weights"))
    if (config.out / "model" / "model_index.json").exists() and views_of(
        config.out / "model"
    ) != config.views:
        raise ValueError(
            f"{config.out}: training of a prior of another number of views; choose another folder"
        )
    model = new_model(config, tokenizer).to(config.device)
    if config.start is not None and not resume.begun(config.out):
        begin_from(model, tokenizer, config.start)
    optimizers = optimizers_of(model, config.lr, config.muon_lr)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    seen = resume.resume(config.out, {"model": model, "ema": average}, optimizers)
    peaks = [
        (group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups
    ]  # loading has replaced the groups
    weights, averages = list(model.parameters()), [average[k] for k, _ in model.named_parameters()]
    forward = torch.compile(model) if config.compile else model
    data = Captioned.open(Dataset.open(config.dataset), tokenizer, config.device)
    if (side := data.pictures.dataset.images[0].shape[1]) != config.size_px:
        raise ValueError(
            f"{config.dataset}: holds pictures of {side} pixels, not {config.size_px}; render it with --size-px {config.size_px}"
        )
    if config.views > 1 and not in_groups(data.pictures.dataset, config.views):
        raise ValueError(
            f"{config.dataset}: not of four views of each object in a row; render it with --together {config.views}"
        )
    shares, groups = (
        epoch_of(data.pictures.dataset, config.rarer, config.views),
        config.batch // config.views,
    )
    log = open(config.out / "log.jsonl", "a")  # noqa: SIM115 - open for the whole run
    started = saved = time.monotonic()
    recent: list[Tensor] = []
    over = seen >= config.images
    while not over:
        indices = shares[
            resume.batch_indices(len(shares), groups, config.seed, seen // config.views)
        ]
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
            torch._foreach_lerp_(averages, weights, 1 - keep)
        recent.append(loss.detach())
        now = time.monotonic()
        over = seen >= config.images or now - started > config.stop_after_s
        if len(recent) == config.log_every:
            _write(log, images=seen, loss=_mean(recent), elapsed_s=now - started)
            recent = []
        if over or now - saved > config.save_every_s:
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


def new_model(config: FitConfig, tokenizer) -> Denoiser:
    """Untrained, for single pictures or for grids of four."""
    size = config.size_px * (2 if config.views > 1 else 1)
    return Denoiser(builtin.new_backbone(size), builtin.new_text_encoder(tokenizer))


def in_groups(dataset: Dataset, views: int) -> bool:
    """Whether each `views` pictures in a row are of one object, by what is said of it."""
    said = [(row["caption"], row["normals"]) for row in dataset.labels]
    return len(said) % views == 0 and all(
        len(set(said[at : at + views])) == 1 for at in range(0, len(said), views)
    )


def _averaged(config: FitConfig, average: dict[str, Tensor], tokenizer) -> Denoiser:
    model = new_model(config, tokenizer)
    model.load_state_dict({k: v.cpu() for k, v in average.items()})
    return model.eval()


@torch.no_grad()
def _fixed_loss(
    config: FitConfig, average: dict[str, Tensor], data: Captioned, tokenizer, count: int = 128
) -> float:
    """Loss of the averaged weights on the same pictures of the pool with the same noise every time, and the model written to disk."""
    model = _averaged(config, average, tokenizer)
    builtin.save(config.out / "model", model.backbone, model.text_encoder, tokenizer, config.views)
    model.to(config.device)
    # Shuffled: a shard begins with cameras of a few directions only (core.cameras.sample_cameras).
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
