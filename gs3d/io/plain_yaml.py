"""YAML that may be a stranger's: values of plain types, in bounded memory and depth."""

from typing import Any

MOST_CHARACTERS = 2**22
"""Of a text. The record of a run has some thousands."""
MOST_DEPTH = 100
"""Of nested lists and mappings. The parser in C crashes where they are tens of thousands deep."""
MOST_VALUES = 100_000
"""Of keys and values, each counted as often as aliases repeat it. A few lines of aliases of aliases
can stand for billions, which fill the memory when they are merged or printed."""


def load_yaml(text: str, fast: bool = False) -> Any:
    """The value of a YAML document; None for an empty one.

    `fast` reads with libyaml where it is installed, in a tenth of the time, but its messages name
    the fault in other words.

    Raises:
        ValueError: The text is not YAML, names a type that is not plain, or is too large, too deep,
            or too often repeated by aliases. The message is one line.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"expected at most {MOST_CHARACTERS} characters, got {len(text)}")
    try:
        _check(yaml, text, loader)
        # A subclass of SafeLoader, which makes plain values alone.
        return yaml.load(text, loader)
    # Values such as 2024-13-01 and `!!bool x` raise other errors than YAML's own.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check(yaml: Any, text: str, loader: Any) -> None:
    """ValueError for a document that is too deep, or has too many values."""
    # Values in each open list or mapping, and its anchor; the first is the document.
    open_: list[tuple[int, str | None]] = [(0, None)]
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor not in sizes:
                raise ValueError(f"the alias *{anchor} is within what it stands for, or of nothing")
            size = sizes[anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((0, anchor))
            if len(open_) > MOST_DEPTH:
                raise ValueError(f"expected lists and mappings of at most {MOST_DEPTH} levels")
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            inside, anchor = open_.pop()
            size = inside + 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        inside, of = open_[-1]
        open_[-1] = (inside + size, of)
        if open_[-1][0] > MOST_VALUES:
            raise ValueError(f"expected at most {MOST_VALUES} values, aliases included")
