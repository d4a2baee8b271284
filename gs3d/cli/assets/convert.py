"""`gs3d convert IN OUT`: splats from any format that is read to any that is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, recorded, splats_file, warn
from gs3d.core.errors import UserError
from gs3d.io import READERS, load_splats, save_splats


@dataclass(frozen=True)
class Args:
    """Write splats in another format, which the suffix of OUT names, and say what it does not keep. Rows of NaN are left out."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A splat file, or the folder of a run that has made splats."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Where to write. A file of this name is replaced."""
    sh_degree: int | None = None
    """Leave out the spherical harmonics above this degree, 0 to 3: smaller files, colors that change less with the view."""
    sh_pad: int | None = None
    """Of .ply: fill the harmonics up to this degree with zeros, for viewers that read one layout only; most of those want 3."""
    spz_version: int | None = None
    """Of .spz: 2, 3 or 4; 3, which most viewers read, when not given."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d convert", argv)
    if args.sh_degree is not None and not 0 <= args.sh_degree <= 3:
        raise UserError(f"--sh-degree: expected 0 to 3, got {args.sh_degree}")
    file = splats_file(args.source)
    suffix = check_out(args.out, file)
    options = _options(args, suffix)
    splats, warnings = recorded(load_splats, file)
    warn(warnings)
    from gs3d.ops.clean import lower_degree
    from gs3d.ops.stats import degree_of, losses

    wanted = splats if args.sh_degree is None else lower_degree(splats, args.sh_degree)
    before = bytes_text(file.stat().st_size)
    _, warnings = recorded(lambda path: save_splats(path, wanted, **options), args.out)
    kept = wanted
    if suffix in READERS:
        kept, _ = recorded(load_splats, args.out)
    after = bytes_text(args.out.stat().st_size)
    say(f"{len(kept)} splats, SH degree {degree_of(kept)}: {file}, {before} -> {args.out}, {after}")
    warn(warnings + [f"{args.out} does not keep {what}" for what in losses(wanted, kept)])
    return 0


def _options(args: Args, suffix: str) -> dict[str, int]:
    """What the writer of `suffix` is told; UserError for what only another would understand."""
    given = {
        "sh_pad": (args.sh_pad, ".ply", (1, 2, 3)),
        "version": (args.spz_version, ".spz", (2, 3, 4)),
    }
    flags = {"sh_pad": "--sh-pad", "version": "--spz-version"}
    for name, (value, wanted, allowed) in given.items():
        if value is not None and suffix != wanted:
            raise UserError(
                f"{flags[name]}: is of {wanted} alone, and OUT is {suffix}; leave it out"
            )
        if value is not None and value not in allowed:
            raise UserError(f"{flags[name]}: expected {', '.join(map(str, allowed))}, got {value}")
    return {name: value for name, (value, _, _) in given.items() if value is not None}
