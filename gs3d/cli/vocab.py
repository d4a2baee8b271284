"""`gs3d vocab`: the words the built-in prior knows."""

from dataclasses import dataclass

import tyro


@dataclass(frozen=True)
class Args:
    """List what a prompt for the built-in prior may contain."""


def run(argv: list[str]) -> int:
    tyro.cli(Args, prog="gs3d vocab", args=argv)
    from gs3d.world.captions import caption, vocabulary

    words = vocabulary()
    print("A prompt: [PREFIX] a COLOUR KIND [with COLOUR PATTERN]")
    print(f'For example: "{caption("mushroom", "red", "spots", "white")}"\n')
    for name in ("kinds", "colours", "patterns", "prefixes"):
        print(f"{name:<9}", ", ".join(words[name]))
    return 0
