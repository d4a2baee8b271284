"""Training of the classifier on fresh world renders, and its marks on others. Resumes where it stopped."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """Where the finished weights go; classifier.json, their marks, goes beside them."""
    test_seed: int = 1002
    """Seed of the pictures that the marks are given on."""
    lr: float = 3e-3
    """Peak rate of AdamW; it falls to zero along a cosine."""
    warmup_images: int = 6_400
    weight_decay: float = 0.02
    smoothing: float = 0.02
    """Label smoothing: some views do not show the answer, and the network should be able to say so."""


WEIGHT = {"kind": 1.0, "color": 1.0, "view": 1.0, "pattern": 0.5}
"""How much each question counts in the loss: a pattern is often hidden, so it counts for less."""
NO_ANSWER = -100
"""What cross entropy leaves out: the side of a kind that has no front."""


def targets(rows: list[dict], answers: dict[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Question → the column of the right answer, [B]. `rows` are labels as `world.pool` writes them."""
    right = {
        k: torch.tensor([words.index(row[k] or PLAIN) for row in rows])
        for k, words in answers.items()
    }
    facing = torch.tensor([KINDS[row["kind"]].has_front for row in rows])
    return right | {"view": right["view"].where(facing, torch.tensor(NO_ANSWER))}


def loss_of(logits: dict[str, Tensor], right: dict[str, Tensor], smoothing: float) -> Tensor:
    """Weighted sum of the questions' mean cross entropies, a scalar."""
    total = 0.0
    for k, w in WEIGHT.items():
        summed = nn.functional.cross_entropy(
            logits[k], right[k], ignore_index=NO_ANSWER, label_smoothing=smoothing, reduction="sum"
        )
        total = total + w * summed / (right[k] != NO_ANSWER).sum().clamp_min(1)
    return total


def learning_rate(config: FitConfig, seen: int) -> float:
    return (
        config.lr
        * min(1.0, seen / config.warmup_images)
        * 0.5
        * (1 + math.cos(math.pi * min(seen / config.images, 1.0)))
    )


def fit(config: FitConfig) -> dict:
    """Train, write weights and marks, and return the marks."""
    if not config.metrics_only:
        _fit(config)
    path = config.weights.with_suffix(".json")
    marks = provenance(config, path) | metrics_of(
        Classifier.load(config.weights), config
    )  # as written: rounding to float16 counts
    path.write_text(json.dumps(marks, indent=2) + "\n")
    return marks


def _fit(config: FitConfig) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    dataset, answers = rendered(config.dataset, config.seed, config.shards, config.device), labels()
    torch.manual_seed(derive_seed(config.seed, "initial weights"))
    network = Network({k: len(v) for k, v in answers.items()}).to(
        config.device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    network.train()
    right = {k: v.to(config.device) for k, v in targets(dataset.labels, answers).items()}
    pictures, alone = Stored.of(dataset, config.device), of_one_thing(dataset)

    def step(seen: int) -> Tensor:
        indices = alone[resume.batch_indices(len(alone), config.batch, config.seed, seen)]
        behind = backgrounds(
            np.random.default_rng(derive_seed(config.seed, "backgrounds", seen)), len(indices)
        ).to(config.device)
        at = torch.from_numpy(indices).to(config.device)
        images = augment(
            pictures.rgba(at), behind, generator(config.seed, "augment", seen, device=config.device)
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
    """Share of right answers, and of right kinds and colors for each kind. View counts only for kinds that have a front."""
    classification = classifier.classify(images)
    right = {
        k: [
            word == (row[k] or PLAIN)
            for word, row in zip(classification.words(k), rows, strict=True)
        ]
        for k in classifier.answers
    }
    facing = [
        ok for ok, row in zip(right["view"], rows, strict=True) if KINDS[row["kind"]].has_front
    ]
    marks: dict = {"pictures": len(rows)} | {
        k: _share(v) for k, v in (right | {"view": facing}).items()
    }
    for question in ("kind", "color"):
        by_kind = {
            kind: [ok for ok, row in zip(right[question], rows, strict=True) if row["kind"] == kind]
            for kind in KINDS
        }
        marks[f"{question}_by_kind"] = {kind: _share(oks) for kind, oks in by_kind.items() if oks}
    return marks


def _share(oks: Sequence[float]) -> float | None:
    return round(sum(oks) / len(oks), 4) if oks else None


def metrics_of(classifier: Classifier, config: FitConfig) -> dict:
    """For classifier.json: two shards from random cameras, 512 objects from the cameras of grading, true splats, and two-faced ones."""
    dataset = rendered(config.dataset, config.test_seed, 2, config.device)
    alone = of_one_thing(dataset)
    rgba, rows = torch.from_numpy(dataset.rgba(alone)), [dataset.labels[i] for i in alone]
    behind = backgrounds(
        np.random.default_rng(derive_seed(config.test_seed, "backgrounds")), len(rows)
    )
    images = rgba[..., :3] + (1 - rgba[..., 3:]) * behind[:, None, None, :]
    below = [i for i, row in enumerate(rows) if row["view"] != "overhead"]
    soft = augment(rgba, behind, generator(config.test_seed, "augment")).permute(0, 2, 3, 1)
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
    """Mean marks of `evaluation.grade` for objects that are right by construction: the best that any run can hope for."""
    rng = np.random.default_rng(derive_seed(seed, "true splats"))
    made = [sample(rng, kind, plain=True) for kind in KINDS for _ in range(each)]
    grades = [grade(reference_splats(o.parts), o.meaning, classifier) for o in made]
    marks = {
        name: [getattr(g, name) for g in grades]
        for name in ("kind_right", "color_right", "janus", "residue")
    }
    known = {name: [v for v in values if v is not None] for name, values in marks.items()}
    return {"objects": len(made)} | {
        name: round(sum(values) / len(values), 4) for name, values in known.items()
    }


def two_faced_metrics(classifier: Classifier, seed: int, each: int = 8) -> dict:
    """How much of a second face the mark of Janus sees: objects of anything that a caption can say, as they are and with two fronts."""
    rng = np.random.default_rng(derive_seed(seed, "two faces"))
    made = [
        sample(rng, kind.name) for kind in KINDS.values() if kind.has_front for _ in range(each)
    ]
    given: dict[str, list] = {"one_front": [], "two_fronts": []}
    for o in made:
        kind, splats = o.meaning.thing.kind, reference_splats(o.parts)
        given["one_front"].append((kind, janus_of(splats, kind, classifier)))
        given["two_fronts"].append((kind, janus_of(two_faced(splats), kind, classifier)))
    marks: dict = {"objects": len(made)}
    for name, pairs in given.items():
        marks[name] = _share([mark for _, mark in pairs])
        marks[f"{name}_by_kind"] = {
            kind: _share([mark for k, mark in pairs if k == kind]) for kind in dict(pairs)
        }
    return marks
