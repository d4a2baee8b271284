"""Small image classifier for objects of the procedural world: kind, color, pattern and view.

It is trained separately from every prior and on different renders (`pretraining.classifier`), so
that its scores are independent of the prior's own errors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gs3d.core.errors import UserError
from gs3d.core.views.words import VIEW_WORDS
from gs3d.world.captions import PATTERN_WORDS
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS

SIZE_PX = 64
"""Side of the network's input images."""
WEIGHTS = Path(__file__).parent / "weights" / "classifier.safetensors"
PLAIN = "plain"
"""Pattern class of objects without a pattern."""
FEATURES = 160


def labels() -> dict[str, tuple[str, ...]]:
    """Return the attributes that the network predicts and the classes of each, in output order."""
    patterns = tuple(word or PLAIN for word in PATTERN_WORDS.values())
    return {"kind": tuple(KINDS), "color": tuple(NAMED), "view": VIEW_WORDS, "pattern": patterns}


def _conv(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Network(nn.Module):
    """Convolutional network with one linear head per attribute.

    It has about 0.9 M parameters, needs about 50 M multiplications per image, and reduces 32² to
    4². `answers` maps each attribute to its number of classes.
    """

    def __init__(self, answers: dict[str, int]):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            _conv(12, 32),
            _conv(32, 64, stride=2),
            Residual(64),
            _conv(64, 96, stride=2),
            Residual(96),
            _conv(96, FEATURES, stride=2),
            Residual(FEATURES),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(FEATURES, count) for name, count in answers.items()}
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map images [B, 3, 64, 64] in [0, 1] to logits [B, classes] per attribute."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    def features(self, images: Tensor) -> Tensor:
        """Map images [B, 3, 64, 64] in [0, 1] to features [B, FEATURES]."""
        return self.trunk(images * 4 - 2)  # world renders have mean 0.5 and deviation 0.25, roughly


@dataclass(frozen=True)
class Classification:
    """Predictions for B images: probabilities [B, classes] per attribute, on the CPU."""

    kind: Tensor
    color: Tensor
    view: Tensor
    pattern: Tensor
    answers: dict[str, tuple[str, ...]]
    """Attribute → class names, in column order."""

    def __len__(self) -> int:
        return len(self.kind)

    def words(self, attribute: str) -> list[str]:
        """Return the most probable class of each image, B names."""
        return [self.answers[attribute][i] for i in getattr(self, attribute).argmax(1).tolist()]

    def probability(self, attribute: str, word: str) -> Tensor:
        """Return the probability [B] of the class `word`."""
        return getattr(self, attribute)[:, self.answers[attribute].index(word)]


def resize(images: Tensor, size: int = SIZE_PX) -> Tensor:
    """Resize images [B, H, W, 3] to [B, size, size, 3] by area averaging."""
    if images.shape[1:3] == (size, size):
        return images
    return nn.functional.interpolate(
        images.permute(0, 3, 1, 2), size=(size, size), mode="area"
    ).permute(0, 2, 3, 1)


def _check_images(images: Tensor) -> None:
    if (
        not isinstance(images, Tensor)
        or images.dim() != 4
        or images.shape[3] != 3
        or 0 in images.shape[1:3]
    ):
        got = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images: expected a tensor of shape [B, H, W, 3], got {got}")
    if not images.is_floating_point():
        raise ValueError(
            f"images: expected floats in [0, 1], got {images.dtype}; divide 8-bit values by 255"
        )
    if not torch.isfinite(images).all():
        raise ValueError("images: expected finite values, got NaN or Inf")
    if len(images) and (images.min() < -0.01 or images.max() > 1.01):
        low, high = images.min().item(), images.max().item()
        raise ValueError(
            f"images: expected values in [0, 1], got {low:.3g} to {high:.3g};"
            " clamp renders, divide 8-bit values by 255"
        )


def _current_name(key: str) -> str:
    """Return the current name of a key of a weights file.

    Files written before November 2026 spell one head "colour".
    """
    return key.replace("colour", "color")


@dataclass(frozen=True)
class Classifier:
    """A trained network with the names of its classes."""

    network: Network
    answers: dict[str, tuple[str, ...]]
    """Attribute → class names, in output order."""

    @staticmethod
    def load(path: str | Path = WEIGHTS) -> "Classifier":
        """Load the shipped classifier, or the one at `path`, onto the CPU.

        Raises `UserError` if the file is missing or is not a classifier.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"classifier: no weights at {path};"
                " reinstall gs3d, or train them with scripts/train_classifier.py"
            )
        try:
            with safe_open(path, "pt") as file:
                labels = json.loads(file.metadata()["labels"])
                tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
            answers = {_current_name(k): tuple(v) for k, v in labels.items()}
            weights = {_current_name(k): v for k, v in tensors.items()}
            network = Network({k: len(v) for k, v in answers.items()})
            missing, unknown = network.load_state_dict(weights, strict=False)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"classifier {path}: expected the weights of a classifier"
                f" ({type(error).__name__}: {error});"
                " train them again with scripts/train_classifier.py"
            ) from None
        if unknown or [k for k in missing if not k.endswith("num_batches_tracked")]:
            raise UserError(
                f"classifier {path}: the weights belong to a different network;"
                " train them again with scripts/train_classifier.py"
            )
        return Classifier(network.eval().requires_grad_(False), answers)

    def save(self, path: str | Path) -> None:
        """Write the weights as float16 safetensors with the class names in the metadata."""
        weights = {
            k: v.half().contiguous()
            for k, v in self.network.state_dict().items()
            if v.is_floating_point()
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Not save_file: it creates a file that only its owner can read.
        Path(path).write_bytes(save(weights, metadata={"labels": json.dumps(self.answers)}))

    @torch.no_grad()
    def features(self, images: Tensor, chunk: int = 256) -> Tensor:
        """Compute the features [B, FEATURES] of images [B, H, W, 3] in [0, 1].

        Raises `ValueError` for tensors that are not such images.
        """
        _check_images(images)
        parts = [
            resize(part.float().cpu()).permute(0, 3, 1, 2).contiguous()
            for part in images.split(chunk)
        ]
        return torch.cat([self.network.features(part) for part in parts])

    @torch.no_grad()
    def classify(self, images: Tensor, chunk: int = 256) -> Classification:
        """Classify images [B, H, W, 3] in [0, 1] of any size, independently of each other.

        Raises `ValueError` for tensors that are not such images.
        """
        _check_images(images)
        parts = [
            self.network(resize(part.float().cpu()).permute(0, 3, 1, 2).contiguous())
            for part in images.split(chunk)
        ]
        return Classification(
            **{k: torch.cat([p[k] for p in parts]).softmax(1) for k in self.answers},
            answers=self.answers,
        )
