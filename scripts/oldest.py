"""Print the oldest releases that pyproject.toml allows, as a constraints file for pip."""

import re
from importlib.metadata import requires

import tyro

WANTED = re.compile(r"""([\w-]+)>=([\d.]+)(; extra == ['"](lora|view|batch)['"])?""")


def main() -> None:
    for text in requires("gs3d") or ():
        if (match := WANTED.fullmatch(text)) is None:
            if "extra ==" in text:
                continue  # of another one
            raise SystemExit(f"{text}: expected NAME>=VERSION")
        name, version = match[1], match[2]
        parts = [*version.split("."), "0"][: 2 if version.count(".") < 2 else 3]
        # 1.26 of a range stands for any 1.26.x: its first release may have no wheel.
        print(f"{name}=={'.'.join(parts)}{'.*' if len(parts) < 3 else ''}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
