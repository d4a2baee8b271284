"""`gs3d convert IN OUT`: converts splats between file formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import fault, say
from gs3d.cli.parse import parse
from gs3d.cli.paths import (
    bytes_text,
    check_out,
    saved,
    splats_file,
    warn,
    with_warnings,
)
from gs3d.core.errors import UserError
from gs3d.io import FORMATS, SPLATS, bytes_of, load_splats, suffix_of


@dataclass(frozen=True)
class Args:
    """Convert splats to another file format, and list the data that the format loses. Invalid rows
    (NaN, infinity) are left out."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A splat file, or a run's folder with splats; with --to, the folder of a batch."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Output file. Its suffix decides the format. An existing file is replaced. With --to, the
    folder for a file of each run."""
    to: str | None = None
    """Suffix such as .spz: convert the splats of all runs that have any in the folder IN, which is
    that of a batch, each to a file in OUT with the name of the run."""
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
    if args.to is None:
        _convert(args, splats_file(args.source), args.out)
        return 0
    return _convert_all(args, "." + args.to.removeprefix("."))


def _convert_all(args: Args, suffix: str) -> int:
    """Convert the splats of each run in a folder. Those that cannot be are named, and stop no other
    one; the exit status is then 1."""
    if not args.source.is_dir():
        raise UserError(f"--to: expected the folder of a batch, and {args.source} is none")
    runs = sorted(path.parent for path in args.source.glob(f"*/{SPLATS}"))
    if not runs:
        raise UserError(f"{args.source}: contains no folder of a run with {SPLATS}")
    if suffix_of(f"a{suffix}", FORMATS) is None:
        raise UserError(f"--to: expected one of {', '.join(sorted(FORMATS))}, got {suffix}")
    _options(args, suffix)  # a fault of theirs is one line, not one for each run
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be made ({error.strerror})") from None
    failed = 0
    for run in runs:
        try:
            _convert(args, run / SPLATS, args.out / f"{run.name}{suffix}")
        except UserError as error:
            fault(f"failed: {error.for_command_line}")
            failed += 1
    say(f"{len(runs) - failed} of {len(runs)} runs converted, in {args.out}")
    others = sum(not (path.parent / SPLATS).is_file() for path in args.source.glob("*/run.yaml"))
    if others:
        say(f"left out: {others} without {SPLATS}, which have a mesh, or nothing yet")
    return int(failed > 0)


def _convert(args: Args, file: Path, out: Path) -> None:
    suffix = check_out(out, file)
    options = _options(args, suffix)
    splats, warnings = with_warnings(load_splats, file)
    warn(warnings)
    from gs3d.ops.clean import lower_degree
    from gs3d.ops.stats import degree_of

    wanted = splats if args.sh_degree is None else lower_degree(splats, args.sh_degree)
    before = bytes_text(bytes_of(file))
    kept, warnings = saved(out, suffix, wanted, **options)
    after = bytes_text(out.stat().st_size)
    say(f"{len(kept)} splats, SH degree {degree_of(kept)}: {file}, {before} -> {out}, {after}")
    warn(warnings)


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
