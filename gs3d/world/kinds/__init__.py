"""The kinds of object, one file a family. A new kind is one function and one line in its family's `KINDS`."""

from gs3d.world.kinds import animals, buildings, food, furniture, plants, tools, toys, vehicles
from gs3d.world.kinds.base import Kind

FAMILIES: dict[str, tuple[Kind, ...]] = {
    "food": food.KINDS,
    "furniture": furniture.KINDS,
    "vehicles": vehicles.KINDS,
    "buildings": buildings.KINDS,
    "plants": plants.KINDS,
    "animals": animals.KINDS,
    "tools": tools.KINDS,
    "toys": toys.KINDS,
}

KINDS: dict[str, Kind] = {kind.name: kind for family in FAMILIES.values() for kind in family}

__all__ = ["FAMILIES", "KINDS", "Kind"]
