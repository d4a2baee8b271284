"""Measure a training step of the built-in prior on a CPU: median milliseconds of its parts.

`python benchmarks/training_step.py [--batch 64] [--record]` compares torch's fused attention with
`gs3d.pretraining.attention`. The network is compiled and in bfloat16, as in the commands of the
model card. The images are noise.
"""

import contextlib
import statistics
import time
from dataclasses import dataclass

import torch
import tyro
from record import append, machine

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.pretraining.attention import plain_attention
from gs3d.pretraining.denoiser import Denoiser, loss_of
from gs3d.pretraining.optimizers import optimizers_of
from gs3d.priors import builtin
from gs3d.world.captions import vocabulary_texts


@dataclass(frozen=True)
class Args:
    batch: int = 32
    """Images per step."""
    runs: int = 9
    """Timed steps."""
    compile: bool = True
    """Compile the network with torch.compile."""
    record: bool = False
    """Append the result to results.jsonl."""


def step_ms(args: Args, attention: contextlib.AbstractContextManager) -> dict[str, float]:
    """Return the median time of each part in ms, after three steps that are not counted."""
    torch.manual_seed(0)
    torch.compiler.reset()
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    model = Denoiser(builtin.new_backbone(), builtin.new_text_encoder(tokenizer))
    optimizers = optimizers_of(model, 1e-4, 1e-3)
    forward = torch.compile(model) if args.compile else model
    z0, noise = torch.rand(args.batch, 3, 64, 64), torch.randn(args.batch, 3, 64, 64)
    sigma = torch.rand(args.batch) + 0.5
    tokens = tokenizer(
        ["a red mushroom with white spots, front view"] * args.batch,
        padding="max_length",
        return_tensors="pt",
    ).input_ids
    rows = []
    with attention:
        for _ in range(args.runs + 3):
            times = [time.perf_counter()]
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(forward, z0, sigma, noise, tokens)
            times.append(time.perf_counter())
            model.zero_grad(set_to_none=True)
            loss.backward()
            times.append(time.perf_counter())
            for optimizer in optimizers:
                optimizer.step()
            times.append(time.perf_counter())
            rows.append([1e3 * (b - a) for a, b in zip(times[:-1], times[1:], strict=True)])
    parts = [round(statistics.median(column), 1) for column in zip(*rows[3:], strict=True)]
    # "optimisers" is the spelling of the earlier rows of results.jsonl.
    return dict(zip(("forward", "backward", "optimisers"), parts, strict=True)) | {
        "step": round(sum(parts), 1)
    }


def main(args: Args) -> None:
    shared = machine()
    keep_freed_blocks()
    row = {
        "fused attention": step_ms(args, contextlib.nullcontext()),
        "plain attention": step_ms(args, plain_attention()),
    }
    for name, ms in row.items():
        parts = ", ".join(f"{part} {value:.0f}" for part, value in ms.items())
        print(f"{name}: {parts} ms; {1e3 * args.batch / ms['step']:.0f} images per second")
    if args.record:
        append("training_step", {"batch": args.batch, "ms": row}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
