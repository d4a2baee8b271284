"""Training of the built-in prior on world renders: EDM (Karras et al. 2022) with EMA weights.

Runs on a CPU or a GPU, and resumes where it stopped.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gs3d.core.rng import derive_seed
from gs3d.priors import builtin
from gs3d.priors.scalings import Edm
from gs3d.world.captions import vocabulary_words
from gs3d.world.pool import Pool, random_background, random_caption


@dataclass(frozen=True)
class FitConfig:
    """Settings of a training run."""

    pool: Path
    """Folder of rendered shards (scripts/render_world.py)."""
    out: Path
    """Folder for the checkpoint, the log and the finished model."""
    images: int = 400_000
    """Pictures to train on in all, repeats counted."""
    batch: int = 16
    lr: float = 1e-3
    """Peak rate of AdamW."""
    warmup_images: int = 2_000
    decay_images: int = 40_000
    """From here on the rate falls with the square root of the images seen (Karras et al. 2024, EDM2)."""
    cooldown_images: int = 60_000
    """Over the last so many pictures the rate falls linearly to zero."""
    ema_fraction: float = 0.06
    """EMA half-width as a share of the images seen so far, so that early junk never lingers."""
    dropout: float = 0.1
    """Share of captions replaced by the empty one, for classifier-free guidance."""
    sigma_mean: float = -0.6
    sigma_std: float = 1.3
    """Training noise: ln σ ~ N(mean, std²)."""
    save_every_s: float = 300.0
    log_every: int = 25
    """Steps between rows of log.jsonl."""
    seed: int = 0
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class Denoiser(nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module, patch: int = builtin.PATCH):
        super().__init__()
        self.unet, self.text_encoder, self.patch = unet, text_encoder, patch
        self.scaling = Edm(builtin.SIGMA_DATA)

    def forward(self, z: Tensor, sigma: Tensor, tokens: Tensor) -> Tensor:
        """D(z, σ, y): z [B, 12, 32, 32], σ [B], tokens [B, L] → [B, 12, 32, 32]."""
        s = sigma[:, None, None, None]
        text = self.text_encoder(tokens).last_hidden_state
        f = self.unet(self.scaling.c_in(s) * z, self.scaling.c_noise(sigma), text).sample
        return self.scaling.c_skip(s) * z + self.scaling.c_out(s) * f


def loss_of(model: Denoiser, z0: Tensor, sigma: Tensor, noise: Tensor, tokens: Tensor) -> Tensor:
    """Karras et al. 2022, Eq. 2, with λ(σ) = (σ² + σd²) / (σ σd)²: 1 at initialisation at every σ. A scalar."""
    weight = (sigma**2 + builtin.SIGMA_DATA**2) / (sigma * builtin.SIGMA_DATA) ** 2
    error = model(z0 + sigma[:, None, None, None] * noise, sigma, tokens) - z0
    return (weight[:, None, None, None] * error**2).mean()


def learning_rate(config: FitConfig, seen: int) -> float:
    rate = config.lr * min(1.0, seen / config.warmup_images) * min(1.0, (config.decay_images / max(seen, 1)) ** 0.5)
    return rate * min(1.0, max(config.images - seen, 0) / config.cooldown_images)


def to_depth(images: Tensor, patch: int = builtin.PATCH) -> Tensor:
    """[B, H, W, 3] in [0, 1] → [B, 3·p², H/p, W/p] in [−1, 1]; the same map as `priors.pixel`."""
    return nn.functional.pixel_unshuffle(images.permute(0, 3, 1, 2) * 2 - 1, patch)


def fit(config: FitConfig) -> None:
    """Train until `config.images` pictures were seen; checkpoint every `save_every_s`; write the EMA model to `out/model`."""
    config.out.mkdir(parents=True, exist_ok=True)
    tokenizer = builtin.new_tokenizer(vocabulary_words())
    torch.manual_seed(derive_seed(config.seed, "initial weights"))
    model = Denoiser(builtin.new_unet(), builtin.new_text_encoder(tokenizer)).to(config.device)
    if config.device == "cpu":
        model.unet.to(memory_format=torch.channels_last)  # a third faster there
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
    seen = _resume(config, model, ema, optimizer)
    log = open(config.out / "log.jsonl", "a")  # noqa: SIM115 - open for the whole run
    weights, ema_weights = list(model.parameters()), [ema[k] for k, _ in model.named_parameters()]
    started, saved, recent = time.monotonic(), time.monotonic(), []
    while seen < config.images:
        pool = Pool.open(config.pool)  # opened anew each epoch: shards may be rendered meanwhile
        order = np.random.default_rng(derive_seed(config.seed, "order", seen)).permutation(len(pool))
        for at in range(0, len(order) - config.batch + 1, config.batch):
            rng = np.random.default_rng(derive_seed(config.seed, "batch", seen))
            z0, sigma, noise, tokens = _batch(config, pool, order[at : at + config.batch], rng, tokenizer)
            optimizer.param_groups[0]["lr"] = learning_rate(config, seen)
            loss = loss_of(model, z0, sigma, noise, tokens)
            model.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            seen += config.batch
            keep = max(0.0, 1 - config.batch / max(config.ema_fraction * seen, config.batch))
            with torch.no_grad():
                torch._foreach_lerp_(ema_weights, weights, 1 - keep)
            recent.append(loss.detach())
            now = time.monotonic()
            if len(recent) == config.log_every:
                row = {"images": seen, "loss": round(float(torch.stack(recent).mean()), 5), "elapsed_s": round(now - started, 1)}
                log.write(json.dumps(row) + "\n")
                log.flush()
                recent = []
            if now - saved > config.save_every_s or seen >= config.images:
                _checkpoint(config, seen, model, ema, optimizer)
                saved = now
            if seen >= config.images:
                break
    model.load_state_dict(ema)
    builtin.save(config.out / "model", model.unet.cpu(), model.text_encoder.cpu(), tokenizer)


def _batch(config, pool, indices, rng, tokenizer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rgba = pool.rgba(indices)
    images = rgba[..., :3] + (1 - rgba[..., 3:]) * random_background(rng, len(indices))[:, None, None, :]
    captions = ["" if rng.random() < config.dropout else random_caption(rng, pool.labels[i]) for i in indices]
    tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    z0 = to_depth(torch.from_numpy(images))
    sigma = torch.from_numpy(np.exp(config.sigma_mean + config.sigma_std * rng.standard_normal(len(indices)))).float()
    noise = torch.from_numpy(rng.standard_normal(z0.shape, dtype=np.float32))
    return tuple(x.to(config.device) for x in (z0, sigma, noise, tokens))


def _checkpoint(config: FitConfig, seen: int, model: Denoiser, ema: dict, optimizer: torch.optim.Optimizer) -> None:
    """One safetensors file: weights, EMA, optimiser moments; written beside and renamed, so a kill leaves the last one whole."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | {f"ema.{k}": v for k, v in ema.items()}
    for j, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{j}.{k}": v for k, v in state.items() if torch.is_tensor(v)}
    temporary = config.out / "checkpoint.tmp"
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, temporary, metadata={"images": str(seen)})
    os.replace(temporary, config.out / "checkpoint.safetensors")


def _resume(config: FitConfig, model: Denoiser, ema: dict, optimizer: torch.optim.Optimizer) -> int:
    """Load the checkpoint when there is one; the number of images seen."""
    path = config.out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    from safetensors import safe_open

    tensors = load_file(path)
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for k in ema:
        ema[k].copy_(tensors[f"ema.{k}"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, v in tensors.items():
        if key.startswith("optimizer."):
            _, j, name = key.split(".", 2)
            state.setdefault(int(j), {})[name] = v
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    with safe_open(path, "pt") as f:
        return int(f.metadata()["images"])
