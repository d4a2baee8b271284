"""The kinds of objects, one or two modules per family.

A new kind is one function and one entry in its module's `KINDS`; in the families of two modules
also a name in the order below.
"""

from gs3d.world.kinds import (
    aircraft_and_boats,
    buildings,
    domestic_animals,
    food,
    furniture,
    land_vehicles,
    plants,
    tools,
    toys,
    wild_animals,
)
from gs3d.world.kinds.base import Kind

_VEHICLE_ORDER = (
    "car",
    "rocket",
    "boat",
    "plane",
    "truck",
    "bus",
    "train",
    "helicopter",
    "tank",
    "submarine",
    "balloon",
)
_ANIMAL_ORDER = (
    "duck",
    "rabbit",
    "fish",
    "elephant",
    "giraffe",
    "penguin",
    "turtle",
    "pig",
    "cat",
    "octopus",
    "snail",
)


def _in_order(kinds: tuple[Kind, ...], names: tuple[str, ...]) -> tuple[Kind, ...]:
    """Sort kinds by the position of their names in `names`; raises ValueError if one is missing."""
    return tuple(sorted(kinds, key=lambda kind: names.index(kind.name)))


FAMILIES: dict[str, tuple[Kind, ...]] = {
    "food": food.KINDS,
    "furniture": furniture.KINDS,
    "vehicles": _in_order(land_vehicles.KINDS + aircraft_and_boats.KINDS, _VEHICLE_ORDER),
    "buildings": buildings.KINDS,
    "plants": plants.KINDS,
    "animals": _in_order(domestic_animals.KINDS + wild_animals.KINDS, _ANIMAL_ORDER),
    "tools": tools.KINDS,
    "toys": toys.KINDS,
}
"""Family → its kinds."""

KINDS: dict[str, Kind] = {kind.name: kind for family in FAMILIES.values() for kind in family}
"""Name → kind. Class labels and random draws depend on the order."""

__all__ = ["FAMILIES", "KINDS", "Kind"]
