"""Run `gs3d` with small files as results, for tests that start it as a process of its own.

Their full size takes longer than everything else in a run of a few steps.
"""

import sys

SMALL = {
    "FACES": 600,
    "TEXTURE_PX": 64,
    "TURNTABLE_FRAMES": 4,
    "TURNTABLE_PX": 32,
    "PREVIEW_PX": 32,
}
"""Values for constants of `gs3d.runs.outputs.files`."""
GS3D = (sys.executable, __file__)
"""The command, in place of `python -m gs3d`."""


def blank_figure(rows):
    """In place of `gs3d.runs.outputs.plot.draw_figure`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(1, 1))


def use_small_files() -> None:
    """Let runs of this process write small files."""
    from gs3d.runs.outputs import files, plot

    for name, value in SMALL.items():
        setattr(files, name, value)
    plot.draw_figure = blank_figure


def main() -> int:
    from gs3d.cli.main import main
    from gs3d.runs.starts import builtin

    builtin.STEPS = 2
    use_small_files()
    return main()


if __name__ == "__main__":
    sys.exit(main())
