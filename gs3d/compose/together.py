"""Objects put into their places, as the splats of one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from gs3d.compose.scene_file import Entry
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.ops.clean import rotated
from gs3d.ops.extent import box_of
from gs3d.ops.place import WORLD, place_of

if TYPE_CHECKING:
    from jaxtyping import Float

FOOT, SEEN = 0.1, 0.3
"""Part of the height of an object that stands on another, and least opacity of what it stands on.
"""
GAP = 0.05
"""Between two objects beside each other, in widths of the earlier one."""
OVERLAP = 0.2
"""Share of the box of an object that another may fill before a warning."""


@dataclass(frozen=True)
class Part:
    """An object in its place."""

    entry: Entry
    splats: Splats
    low: Float[np.ndarray, " 3"]
    high: Float[np.ndarray, " 3"]
    """Corners of the box of 99.9 % of the splats."""


def together(entries: Sequence[Entry], splats: Sequence[Splats]) -> tuple[Splats, list[Part]]:
    """Place the splats of each entry. Returns those of all, in order, and each alone.

    Harmonics of lower degrees are filled up with zeros.

    Raises:
        UserError: Nothing is under an object that shall stand on another.
    """
    parts: list[Part] = []
    for entry, own in zip(entries, splats, strict=True):
        parts.append(_placed(entry, own, {part.entry.name: part for part in parts}))
    most = max(part.splats.sh.shape[1] for part in parts)
    return Splats.cat([_with_harmonics(part.splats, most) for part in parts]), parts


def overlaps(parts: Sequence[Part]) -> list[str]:
    """A line for each two objects that fill the same space."""
    lines: list[str] = []
    for i, first in enumerate(parts):
        for second in parts[i + 1 :]:
            sides = np.minimum(first.high, second.high) - np.maximum(first.low, second.low)
            shared = float(np.prod(sides.clip(0)))
            least = min(float(np.prod(part.high - part.low)) for part in (first, second))
            if shared > OVERLAP * max(least, 1e-12):
                lines.append(
                    f"{first.entry.name} and {second.entry.name} overlap: {shared / least:.0%} of "
                    "the smaller one's box; change a position or a size"
                )
    return lines


def _placed(entry: Entry, splats: Splats, before: dict[str, Part]) -> Part:
    place = WORLD if entry.own_frame else place_of(splats)
    factor = entry.size / place.radius
    center = torch.from_numpy(place.center)
    centered = replace(
        splats,
        means=((splats.means.double() - center) * factor).float(),
        scales=(splats.scales.double() * factor).float(),
    )
    turned = rotated(centered, 0.0, 0.0, entry.turn_deg) if entry.turn_deg else centered
    low, high = box_of(turned.means)
    position = np.array(entry.position)
    if entry.relation == "stands_on":
        assert entry.other is not None
        under = before[entry.other]
        middle = (under.low + under.high) / 2
        position = position + (middle[0], middle[1], 0)
        foot = _foot_of(turned, low, high) + torch.from_numpy(position[:2])
        position[2] += _top_under(under, foot) - low[2]
    elif entry.relation is not None:
        assert entry.other is not None
        position = position + _next_to(before[entry.other], low, high, entry.relation)
    means = (turned.means.double() + torch.from_numpy(position)).float()
    moved = replace(turned, means=means)
    return Part(entry, moved, low + position, cast("np.ndarray", high + position))


def _next_to(
    other: Part, low: np.ndarray, high: np.ndarray, relation: str
) -> Float[np.ndarray, " 3"]:
    """Center of a box from `low` to `high` that is beside, before or behind another object, on its
    ground."""
    center = (other.low + other.high) / 2 - (low + high) / 2
    center[2] = other.low[2] - low[2]
    axis = 1 if relation == "beside" else 0
    gap = GAP * float(other.high[axis] - other.low[axis])
    if relation == "behind":
        center[axis] = other.low[axis] - high[axis] - gap
    else:
        center[axis] = other.high[axis] - low[axis] + gap
    return center


def _foot_of(splats: Splats, low: np.ndarray, high: np.ndarray) -> Tensor:
    """Corners [2, 2] of the rectangle in x and y of the lowest part of an object."""
    lowest = splats.means[:, 2] <= low[2] + FOOT * (high[2] - low[2])
    foot_low, foot_high = box_of(splats.means[lowest])
    return torch.from_numpy(np.stack([foot_low[:2], foot_high[:2]]))


def _top_under(under: Part, foot: Tensor) -> float:
    """Height of the top of `under` in the rectangle `foot`."""
    means = under.splats.means
    inside = ((means[:, :2] >= foot[0]) & (means[:, :2] <= foot[1])).all(dim=1)
    seen = means[inside & (under.splats.opacities > SEEN)]
    if not len(seen):
        # What is there is nearly transparent yet, or there is a hole, with splats all around.
        if bool(inside.any()):
            return float(box_of(means[inside])[1][2])
        if _surrounds(means[:, :2], foot):
            return float(under.high[2])
        x, y = foot.mean(dim=0).tolist()
        raise UserError(
            f"nothing of {under.entry.name} is at x {x:.2f}, y {y:.2f}, where something shall "
            "stand on it; change that position"
        )
    return float(box_of(seen)[1][2])


def _surrounds(points: Tensor, foot: Tensor) -> bool:
    """Whether there are points [N, 2] beside each of the four sides of the rectangle `foot`."""
    along = (points >= foot[0]) & (points <= foot[1])  # in the strip of x, and in that of y
    before, after = points < foot[0], points > foot[1]
    sides = [along[:, 1 - axis] & far[:, axis] for axis in (0, 1) for far in (before, after)]
    return all(bool(side.any()) for side in sides)


def _with_harmonics(splats: Splats, count: int) -> Splats:
    missing = count - splats.sh.shape[1]
    if not missing:
        return splats
    zeros = splats.sh.new_zeros(len(splats), missing, 3)
    return replace(splats, sh=torch.cat([splats.sh, zeros], dim=1))
