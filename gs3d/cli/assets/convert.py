"""`gs3d convert IN OUT`: converts splats between file formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, saved, splats_file, warn, with_warnings
from gs3d.core.errors import UserError
from gs3d.io import bytes_of, load_splats


@dataclass(frozen=True)
class Args:
    """Convert splats to another file format, and list the data that the format loses. Invalid rows
    (NaN, infinity) are left out."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A splat file, or a run's folder with splats."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Output file. Its suffix decides the format. An existing file is replaced."""
    sh_degree: int | None = None
    """Highest degree of the spherical harmonics to keep, 0 to 3. Lower degrees give smaller files,
    and colors that change less with the view."""
    sh_pad: int | None = None
    """For .ply: pad the spherical harmonics with zeros up to this degree, 1 to 3, for viewers that
    read only one layout. Most of them need 3."""
    spz_version: int | None = None
    """For .spz: format version, 2, 3 or 4. Default 3, which most viewers read."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d convert", argv)
    if args.sh_degree is not None and not 0 <= args.sh_degree <= 3:
        raise UserError(f"--sh-degree: expected 0 to 3, got {args.sh_degree}")
    file = splats_file(args.source)
    suffix = check_out(args.out, file)
    options = _options(args, suffix)
    splats, warnings = with_warnings(load_splats, file)
    warn(warnings)
    from gs3d.ops.clean import lower_degree
    from gs3d.ops.stats import degree_of

    wanted = splats if args.sh_degree is None else lower_degree(splats, args.sh_degree)
    before = bytes_text(bytes_of(file))
    kept, warnings = saved(args.out, suffix, wanted, **options)
    after = bytes_text(args.out.stat().st_size)
    say(f"{len(kept)} splats, SH degree {degree_of(kept)}: {file}, {before} -> {args.out}, {after}")
    warn(warnings)
    return 0


def _options(args: Args, suffix: str) -> dict[str, int]:
    """Options for the writer of `suffix`. `UserError` for an option of another format."""
    given = {
        "sh_pad": (args.sh_pad, ".ply", (1, 2, 3)),
        "version": (args.spz_version, ".spz", (2, 3, 4)),
    }
    flags = {"sh_pad": "--sh-pad", "version": "--spz-version"}
    for name, (value, wanted, allowed) in given.items():
        if value is not None and suffix != wanted:
            raise UserError(
                f"{flags[name]}: applies to {wanted} only, and OUT is {suffix}; leave it out"
            )
        if value is not None and value not in allowed:
            raise UserError(f"{flags[name]}: expected {', '.join(map(str, allowed))}, got {value}")
    return {name: value for name, (value, _, _) in given.items() if value is not None}
