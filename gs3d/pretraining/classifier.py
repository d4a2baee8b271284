"""Training of the classifier on world renders and its evaluation on others; resumes on restart."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from gs3d.core.rng import derive_seed, generator
from gs3d.evaluation.augment import augment, backgrounds
from gs3d.evaluation.classifier import PLAIN, WEIGHTS, Classifier, Network, labels
from gs3d.evaluation.grade import grade, janus_of
from gs3d.evaluation.reference import reference_splats, two_faced
from gs3d.pretraining import resume
from gs3d.pretraining.common import TrainingConfig, provenance, train
from gs3d.pretraining.precision import precision
from gs3d.pretraining.renders import of_one_thing, rendered, ring_pictures
from gs3d.world.dataset import Stored
from gs3d.world.kinds import KINDS
from gs3d.world.sample import sample
from gs3d.world.version import source_digest


@dataclass(frozen=True)
class FitConfig(TrainingConfig):
    """Settings of a training run."""

    weights: Path = WEIGHTS
    """Output file of the weights; their metrics go to a .json file of the same name."""
    test_seed: int = 1002
    """Seed of the test images."""
    lr: float = 3e-3
    """Peak learning rate of AdamW; it decays to zero along a cosine."""
    warmup_images: int = 6_400
    """Images over which the learning rate rises linearly."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    smoothing: float = 0.02
    """Label smoothing: some views do not show the label, and the network must be able to express
    that."""


LOSS_WEIGHTS = {"kind": 1.0, "color": 1.0, "view": 1.0, "pattern": 0.5}
"""Weight of each attribute in the loss; lower for the pattern, which is often hidden."""
IGNORED = -100
"""Label that the cross entropy ignores: the view of a kind without a front."""


def targets(rows: list[dict], answers: dict[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Return the class indices [B] of each attribute for labels from `world.dataset`."""
    right = {
        k: torch.tensor([words.index(row[k] or PLAIN) for row in rows])
        for k, words in answers.items()
    }
    has_front = torch.tensor([KINDS[row["kind"]].has_front for row in rows])
    return right | {"view": right["view"].where(has_front, torch.tensor(IGNORED))}


def loss_of(logits: dict[str, Tensor], right: dict[str, Tensor], smoothing: float) -> Tensor:
    """Return the weighted sum of the attributes' mean cross entropies, a scalar."""
    total: Tensor | float = 0.0
    for k, w in LOSS_WEIGHTS.items():
        summed = nn.functional.cross_entropy(
            logits[k], right[k], ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        total = total + w * summed / (right[k] != IGNORED).sum().clamp_min(1)
    return cast("Tensor", total)


def learning_rate(config: FitConfig, seen: int) -> float:
    """Return the learning rate after `seen` images: linear warm-up, then cosine decay."""
    return (
        config.lr
        * min(1.0, seen / config.warmup_images)
        * 0.5
        * (1 + math.cos(math.pi * min(seen / config.images, 1.0)))
    )


def fit(config: FitConfig) -> dict:
    """Train, write weights and metrics, and return the metrics."""
    if not config.metrics_only:
        _fit(config)
    path = config.weights.with_suffix(".json")
    # The weights are loaded from disk, so that the metrics include the rounding to float16.
    metrics = provenance(config, path) | metrics_of(Classifier.load(config.weights), config)
    path.write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def _fit(config: FitConfig) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    dataset, answers = rendered(config.dataset, config.seed, config.shards, config.device), labels()
    torch.manual_seed(derive_seed(config.seed, "initial weights"))
    network = Network({k: len(v) for k, v in answers.items()})
    # torch's types lack the call with both arguments.
    network = network.to(  # pyright: ignore[reportCallIssue]
        config.device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    network.train()
    right = {k: v.to(config.device) for k, v in targets(dataset.labels, answers).items()}
    stored, single = Stored.of(dataset, config.device), of_one_thing(dataset)

    def step(seen: int) -> Tensor:
        indices = single[resume.batch_indices(len(single), config.batch, config.seed, seen)]
        background = backgrounds(
            np.random.default_rng(derive_seed(config.seed, "backgrounds", seen)), len(indices)
        ).to(config.device)
        at = torch.from_numpy(indices).to(config.device)
        images = augment(
            stored.rgba(at),
            background,
            generator(config.seed, "augment", seen, device=config.device),
        )
        optimizer.param_groups[0]["lr"] = learning_rate(config, seen)
        with precision(config.device, config.half):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        logits = {k: v.float() for k, v in logits.items()}
        loss = loss_of(logits, {k: v[at] for k, v in right.items()}, config.smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    train(config, {"model": network}, [optimizer], step)
    Classifier(network.cpu().eval(), answers).save(config.weights)


def accuracy(classifier: Classifier, images: Tensor, rows: list[dict]) -> dict:
    """Return the accuracy for each attribute, and that of kind and color for each kind.

    The view accuracy covers only kinds with a front.
    """
    classification = classifier.classify(images)
    right = {
        k: [
            word == (row[k] or PLAIN)
            for word, row in zip(classification.words(k), rows, strict=True)
        ]
        for k in classifier.answers
    }
    has_front = [
        ok for ok, row in zip(right["view"], rows, strict=True) if KINDS[row["kind"]].has_front
    ]
    metrics: dict = {"pictures": len(rows)} | {
        k: _mean(v) for k, v in (right | {"view": has_front}).items()
    }
    for attribute in ("kind", "color"):
        by_kind = {
            kind: [
                ok for ok, row in zip(right[attribute], rows, strict=True) if row["kind"] == kind
            ]
            for kind in KINDS
        }
        metrics[f"{attribute}_by_kind"] = {kind: _mean(oks) for kind, oks in by_kind.items() if oks}
    return metrics


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def metrics_of(classifier: Classifier, config: FitConfig) -> dict:
    """Measure the classifier for classifier.json.

    The test data are two shards from random cameras, 512 objects from the cameras of grading,
    reference splats, and two-faced splats.
    """
    dataset = rendered(config.dataset, config.test_seed, 2, config.device)
    single = of_one_thing(dataset)
    rgba, rows = torch.from_numpy(dataset.rgba(single)), [dataset.labels[i] for i in single]
    background = backgrounds(
        np.random.default_rng(derive_seed(config.test_seed, "backgrounds")), len(rows)
    )
    images = rgba[..., :3] + (1 - rgba[..., 3:]) * background[:, None, None, :]
    below = [i for i, row in enumerate(rows) if row["view"] != "overhead"]
    soft = augment(rgba, background, generator(config.test_seed, "augment")).permute(0, 2, 3, 1)
    return {
        "test_seed": config.test_seed,
        "world": source_digest(),
        "parameters": sum(p.numel() for p in classifier.network.parameters()),
        "random_cameras": accuracy(classifier, images, rows),
        "random_cameras_below_60_deg": accuracy(
            classifier, images[below], [rows[i] for i in below]
        ),
        "random_cameras_soft_and_noisy": accuracy(classifier, soft, rows),
        "grading_cameras": accuracy(classifier, *ring_pictures(config.test_seed, 512)),
        "grading_true_splats": reference_splat_metrics(classifier, config.test_seed),
        "two_faced": two_faced_metrics(classifier, config.test_seed),
    }


def reference_splat_metrics(classifier: Classifier, seed: int, each: int = 5) -> dict:
    """Return the mean `evaluation.grade` of reference splats: an upper bound for any run."""
    rng = np.random.default_rng(derive_seed(seed, "true splats"))
    objects = [sample(rng, kind, plain=True) for kind in KINDS for _ in range(each)]
    grades = [grade(reference_splats(o.parts), o.meaning, classifier) for o in objects]
    metrics = {
        name: [getattr(g, name) for g in grades]
        for name in ("kind_right", "color_right", "janus", "residue")
    }
    known = {name: [v for v in values if v is not None] for name, values in metrics.items()}
    return {"objects": len(objects)} | {
        name: round(sum(values) / len(values), 4) for name, values in known.items()
    }


def two_faced_metrics(classifier: Classifier, seed: int, each: int = 8) -> dict:
    """Measure the Janus metric on random reference splats, as they are and with two fronts."""
    rng = np.random.default_rng(derive_seed(seed, "two faces"))
    objects = [
        sample(rng, kind.name) for kind in KINDS.values() if kind.has_front for _ in range(each)
    ]
    janus: dict[str, list] = {"one_front": [], "two_fronts": []}
    for o in objects:
        kind, splats = o.meaning.thing.kind, reference_splats(o.parts)
        janus["one_front"].append((kind, janus_of(splats, kind, classifier)))
        janus["two_fronts"].append((kind, janus_of(two_faced(splats), kind, classifier)))
    metrics: dict = {"objects": len(objects)}
    for name, pairs in janus.items():
        metrics[name] = _mean([value for _, value in pairs])
        metrics[f"{name}_by_kind"] = {
            kind: _mean([value for k, value in pairs if k == kind]) for kind in dict(pairs)
        }
    return metrics
