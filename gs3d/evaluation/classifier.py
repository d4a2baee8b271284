"""A small network that names an object of the world from one picture: what it is, its color, its pattern, and from which side.

It is trained apart from every prior, on other renders (`fitting.classifier`), so that its marks are not the prior's own opinion.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gs3d.core.errors import UserError
from gs3d.core.views import VIEW_WORDS
from gs3d.world.captions import PATTERN_WORDS
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS

SIZE_PX = 64
WEIGHTS = Path(__file__).parent / "weights" / "classifier.safetensors"
PLAIN = "plain"
FEATURES = 160


def labels() -> dict[str, tuple[str, ...]]:
    """What the network is asked, and the answers it may give, in the order of its outputs."""
    patterns = tuple(word or PLAIN for word in PATTERN_WORDS.values())
    return {"kind": tuple(KINDS), "color": tuple(NAMED), "view": VIEW_WORDS, "pattern": patterns}


def _conv(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Network(nn.Module):
    """About 0.9 M parameters and 50 M multiplications a picture: 32² → 4², then one linear head a question."""

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
        """[B, 3, 64, 64] in [0, 1] → logits [B, answers] for each question."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, 64, 64] in [0, 1] → [B, FEATURES]."""
        return self.trunk(images * 4 - 2)  # world pictures lie about 0.5 with a spread of a quarter


@dataclass(frozen=True)
class Classification:
    """What the classifier thinks of B pictures. For each question, probabilities [B, answers] on the CPU."""

    kind: Tensor
    color: Tensor
    view: Tensor
    pattern: Tensor
    answers: dict[str, tuple[str, ...]]
    """Question → the words of its columns."""

    def __len__(self) -> int:
        return len(self.kind)

    def words(self, question: str) -> list[str]:
        """The likeliest answer for each picture, B words."""
        return [self.answers[question][i] for i in getattr(self, question).argmax(1).tolist()]

    def probability(self, question: str, word: str) -> Tensor:
        """[B], how sure it is of `word`."""
        return getattr(self, question)[:, self.answers[question].index(word)]


def resize(images: Tensor, size: int = SIZE_PX) -> Tensor:
    """[B, H, W, 3] → [B, size, size, 3], each new pixel the mean of the area that it covers."""
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
            f"images: expected floats in [0, 1], got {images.dtype}; divide bytes by 255"
        )
    if not torch.isfinite(images).all():
        raise ValueError("images: expected finite values, got NaN or Inf")
    if len(images) and (images.min() < -0.01 or images.max() > 1.01):
        low, high = images.min().item(), images.max().item()
        raise ValueError(
            f"images: expected values in [0, 1], got {low:.3g} to {high:.3g}; clamp renders, divide bytes by 255"
        )


def _current_name(key: str) -> str:
    """The name that a key of a weights file has today: files written before November 2026 spell
    one head "colour"."""
    return key.replace("colour", "color")


@dataclass(frozen=True)
class Classifier:
    """A trained network and the words it answers with."""

    network: Network
    answers: dict[str, tuple[str, ...]]

    @staticmethod
    def load(path: str | Path = WEIGHTS) -> "Classifier":
        """The classifier shipped in the package, or one at `path`, on the CPU. `UserError` if it cannot be read."""
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"classifier: no weights at {path}; reinstall gs3d, or train them with scripts/train_classifier.py"
            )
        try:
            with safe_open(path, "pt") as file:
                labels = json.loads(file.metadata()["labels"])
                tensors = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
            answers = {_current_name(k): tuple(v) for k, v in labels.items()}
            weights = {_current_name(k): v for k, v in tensors.items()}
            network = Network({k: len(v) for k, v in answers.items()})
            left_out, unknown = network.load_state_dict(weights, strict=False)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"classifier {path}: not a classifier's weights ({type(error).__name__}: {error}); train them again"
            ) from None
        if unknown or [k for k in left_out if not k.endswith("num_batches_tracked")]:
            raise UserError(
                f"classifier {path}: weights of another network; train them again with scripts/train_classifier.py"
            )
        return Classifier(network.eval().requires_grad_(False), answers)

    def save(self, path: str | Path) -> None:
        """Weights as float16, with the words in the file's metadata."""
        weights = {
            k: v.half().contiguous()
            for k, v in self.network.state_dict().items()
            if v.is_floating_point()
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(
            save(weights, metadata={"labels": json.dumps(self.answers)})
        )  # save_file would make it readable by one user

    @torch.no_grad()
    def features(self, images: Tensor, chunk: int = 256) -> Tensor:
        """[B, H, W, 3] in [0, 1] → what the network makes of them before it answers, [B, FEATURES]."""
        _check_images(images)
        parts = [
            resize(part.float().cpu()).permute(0, 3, 1, 2).contiguous()
            for part in images.split(chunk)
        ]
        return torch.cat([self.network.features(part) for part in parts])

    @torch.no_grad()
    def classify(self, images: Tensor, chunk: int = 256) -> Classification:
        """Look at pictures [B, H, W, 3] in [0, 1] of any size, each on its own."""
        _check_images(images)
        parts = [
            self.network(resize(part.float().cpu()).permute(0, 3, 1, 2).contiguous())
            for part in images.split(chunk)
        ]
        return Classification(
            **{k: torch.cat([p[k] for p in parts]).softmax(1) for k in self.answers},
            answers=self.answers,
        )
