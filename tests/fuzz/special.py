"""Special values of numbers and of JSON, and changes of one place in a JSON tree."""

import copy
import json
from collections.abc import Iterator

import numpy as np

NUMBERS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    3.4028235e38,
    -3.4028235e38,
    1e-45,
    1e6,
    float("nan"),
    float("inf"),
    float("-inf"),
]
WORDS = [
    "0",
    "-1",
    "1" * 30,
    "nan",
    "-inf",
    "1e999",
    "",
    "x" * 5000,
    "caf\u00e9",
    "\u7ea2",
    "float",
    "list",
    "\x00",
]
JSON = [
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**400,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "caf\u00e9\n\u7ea2",
    "../../etc/passwd",
    [],
    {},
    [[]],
    [0] * 300,
    ["a"] * 3,
]
"""Values that replace a valid one."""


def places(tree: object) -> Iterator[tuple[dict | list, str | int]]:
    """Every value in a JSON tree, as its parent and its key."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from places(tree[key])


def changed_json(text: str, rng: np.random.Generator) -> tuple[str, str]:
    """JSON text with one value replaced, missing or given twice, and a description."""
    tree = json.loads(text)
    parent, key = (found := list(places(tree)))[int(rng.integers(len(found)))]
    kind = rng.random()
    if kind < 0.15 and isinstance(parent, dict):
        del parent[key]
        return json.dumps(tree), f"without {key}"
    if kind < 0.25 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
        return json.dumps(tree), f"with {key} twice"
    value = JSON[int(rng.integers(len(JSON)))]
    if kind < 0.35 and isinstance(parent, dict):
        # The same key twice: the parser takes the last one.
        parent[f"{key}#"] = value
        return json.dumps(tree).replace(f'"{key}#"', json.dumps(key)), f"{key} twice"
    parent[key] = copy.deepcopy(value)
    return json.dumps(tree), f"{key} = {str(value)[:20]!r}"
