"""Marks for one cloud of splats that should be `kind` in `colour`: from eight sides, is it that, has it one face, is it clean?"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.core.views import view_words
from gs3d.evaluation.augment import LIGHT_GREY
from gs3d.evaluation.recogniser import SIZE_PX, Judgement, Recogniser, resize
from gs3d.raster import rasterize
from gs3d.world.kinds import KINDS

VIEWS, ELEVATION_DEG = 8, 15.0
DRAWN_PX = 2 * SIZE_PX  # drawn at twice the size and averaged, as the world's pictures have four rays a pixel
SEEN, SOLID = 0.05, 0.5  # alphas from which a pixel shows something, and is object


@dataclass(frozen=True)
class Grade:
    """Marks over the eight views; shares are in [0, 1]."""

    kind_right: float
    """Share of views named as the right kind."""
    colour_right: float
    """Share of views named as the right colour."""
    kind_probability: float
    """Mean probability of the right kind."""
    colour_probability: float
    """Mean probability of the right colour."""
    janus: float | None
    """Share of the three views from behind (azimuth 135°, 180°, 225°) that look more like the front than like the back; None for a
    kind without a front. True objects have 0, objects with two fronts 0.6 to 1."""
    haze: float
    """Of the pixels that show anything (alpha > 0.05), the share that is smoke: alpha below 0.5, and off the rim of what is solid."""
    coverage: float
    """Mean alpha of the pictures."""
    clipped: float
    """Share of the alpha in the outermost 2 % of the picture on each side: above about 0.01 the object leaves the frame."""
    kinds: tuple[str, ...]
    """The kind that each view was named as, azimuth 0°, 45°, …"""
    colours: tuple[str, ...]
    views: tuple[str, ...]


@torch.no_grad()
def draw(splats: Splats, size_px: int = DRAWN_PX) -> tuple[Tensor, Tensor]:
    """The views that are graded: pictures [8, H, W, 3] in [0, 1] over light grey, and alpha [8, H, W], on the CPU."""
    device = splats.means.device
    out = rasterize(splats, ring(VIEWS, size_px, ELEVATION_DEG).to(device), torch.full((3,), LIGHT_GREY, device=device))
    return out.rgb.clamp(0, 1).cpu(), out.alpha[..., 0].cpu()


def haze_of(alpha: Tensor) -> float:
    """See `Grade.haze`; `alpha` is [B, H, W]. The rim is 2.5 % of the picture wide: so far may the soft edge of a clean object reach."""
    rim = max(1, round(0.025 * alpha.shape[-1]))
    solid = (alpha >= SOLID).float()[:, None]
    near = functional.max_pool2d(solid, 2 * rim + 1, stride=1, padding=rim)[:, 0] > 0
    seen = alpha > SEEN
    return (seen & ~near).sum().item() / max(seen.sum().item(), 1)


def clipped_of(alpha: Tensor) -> float:
    """See `Grade.clipped`; `alpha` is [B, H, W]."""
    edge = max(1, round(0.02 * alpha.shape[-1]))
    outer = torch.ones_like(alpha)
    outer[:, edge:-edge, edge:-edge] = 0
    total = alpha.sum().item()
    return (alpha * outer).sum().item() / total if total > 0 else 0.0


def janus_of(judgement: Judgement, kind: str) -> float | None:
    """See `Grade.janus`; `judgement` is of the pictures of `ring(8, …)`.

    Front is weighed against back alone: at 135° and 225° "side" is nearly as right as "back", so it says nothing about a second face.
    """
    if not KINDS[kind].has_front:
        return None
    more_front = judgement.probability("view", "front") > judgement.probability("view", "back")
    behind = [word == "back" for word in view_words(ring(VIEWS, SIZE_PX, ELEVATION_DEG))]
    return more_front[torch.tensor(behind)].float().mean().item()


def _check_word(what: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise UserError(f"{what} {word!r}: not one that can be graded; expected one of {', '.join(known)}")


def grade(splats: Splats, kind: str, colour: str, recogniser: Recogniser | None = None) -> Grade:
    """Judge `splats`, which should be `kind` in `colour`, from 8 azimuths at 15° elevation.

    Raises `UserError` for a kind or colour that the recogniser does not know, `ValueError` for splats that cannot be drawn.
    """
    judge = recogniser or Recogniser.load()
    _check_word("kind", kind, judge.answers["kind"])
    _check_word("colour", colour, judge.answers["colour"])
    pictures, alpha = draw(splats)
    judgement = judge.judge(resize(pictures))
    kinds, colours, views = (judgement.words(question) for question in ("kind", "colour", "view"))
    return Grade(
        kind_right=kinds.count(kind) / VIEWS,
        colour_right=colours.count(colour) / VIEWS,
        kind_probability=judgement.probability("kind", kind).mean().item(),
        colour_probability=judgement.probability("colour", colour).mean().item(),
        janus=janus_of(judgement, kind),
        haze=haze_of(alpha),
        coverage=alpha.mean().item(),
        clipped=clipped_of(alpha),
        kinds=tuple(kinds),
        colours=tuple(colours),
        views=tuple(views),
    )
