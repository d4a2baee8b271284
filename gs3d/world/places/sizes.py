"""How large the kinds of objects are beside each other, and where they are found."""

from gs3d.world.kinds import KINDS

SIZES_M: dict[str, float] = {
    "ice cream": 0.2, "cake": 0.3, "apple": 0.1, "burger": 0.15, "donut": 0.12, "pineapple": 0.3,
    "cupcake": 0.12, "chair": 1.0, "table": 1.5, "lamp": 0.6, "bed": 2.1, "sofa": 2.0,
    "bookshelf": 2.0, "television": 1.0, "stool": 0.6, "car": 4.2, "rocket": 30.0, "boat": 6.0,
    "plane": 15.0, "truck": 7.0, "bus": 12.0, "train": 15.0, "helicopter": 12.0, "tank": 7.0,
    "submarine": 30.0, "balloon": 15.0, "house": 9.0, "castle": 30.0, "lighthouse": 25.0,
    "windmill": 15.0, "igloo": 3.0, "tent": 2.5, "mushroom": 0.15, "tree": 7.0, "cactus": 1.0,
    "palm": 8.0, "pumpkin": 0.4, "sunflower": 1.5, "duck": 0.4, "rabbit": 0.4, "fish": 0.4,
    "elephant": 4.0, "giraffe": 5.0, "penguin": 0.8, "turtle": 0.5, "pig": 1.2, "cat": 0.5,
    "octopus": 0.6, "snail": 0.08, "mug": 0.12, "teapot": 0.25, "umbrella": 1.0, "hammer": 0.3,
    "bottle": 0.3, "bucket": 0.35, "camera": 0.15, "snowman": 1.6, "robot": 1.0, "ball": 0.3,
    "drum": 0.5,
}  # fmt: skip
"""Kind → usual largest extent, in meters."""

INDOORS = (
    "chair", "table", "lamp", "bed", "sofa", "bookshelf", "television", "stool", "cake", "teapot",
    "umbrella", "bottle", "bucket", "robot", "ball", "drum", "cat", "rabbit", "cactus", "pumpkin",
)  # fmt: skip
"""Kinds that stand in rooms."""
OUTDOORS = (
    "car", "rocket", "plane", "truck", "bus", "train", "helicopter", "tank", "house", "castle",
    "lighthouse", "windmill", "igloo", "tent", "mushroom", "tree", "cactus", "palm", "pumpkin",
    "sunflower", "duck", "rabbit", "elephant", "giraffe", "penguin", "turtle", "pig", "cat",
    "snail", "snowman", "robot",
)  # fmt: skip
"""Kinds that stand in landscapes."""

RADIUS, EXPONENT = 0.36, 0.3
"""Radius of an object of one meter, and the power of the size in meters that it grows with. True
proportions would make an apple beside a house smaller than a pixel."""


def radius_of(kind: str) -> float:
    """Radius of the bounding sphere of a kind of object in a place or composition.

    Raises:
        KeyError: The world has no such kind.
    """
    return RADIUS * SIZES_M[KINDS[kind].name] ** EXPONENT
