"""`gs3d vocab`: the words the built-in prior knows."""

from dataclasses import dataclass

from gs3d.cli.output import shown
from gs3d.cli.parse import parse


@dataclass(frozen=True)
class Args:
    """List what a prompt for the built-in prior may contain."""


def run(argv: list[str]) -> int:
    parse(Args, "gs3d vocab", argv)
    from gs3d.world.captions import caption, vocabulary

    words = vocabulary()
    with shown():
        print("A prompt: [PREFIX] a COLOUR KIND [with COLOUR PATTERN]")
        print(f'For example: "{caption("mushroom", "red", "spots", "white")}"\n')
        for name in ("kinds", "colours", "patterns", "prefixes"):
            print(f"{name:<9}", ", ".join(words[name]))
        print('\nThe view ("45 degrees left 15 up view") is added for each camera.')
    return 0
