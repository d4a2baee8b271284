"""Splat files: one module per format, and the checks they share.

A format is a function `write(path, splats)`, best with its inverse `read(path)`, named in
`gs3d.io.FORMATS`. Every command and `Scene.save` then offer it. examples/own_format.py adds one.

`write` gets any splats, which it must not change, and

- calls `checks.to_file_coordinates`, which checks them and rotates them into the coordinate system
  of the file (`gs3d.ops.transforms` has the common ones);
- writes through `gs3d.io.atomic.write_atomic`, whose `verify` compares the file with what was
  meant, for instance by `gs3d.ops.blocks.holds`.

`read` returns what the file holds, float32 on the CPU, and

- ends with `checks.to_world_coordinates`, which leaves out invalid rows with a `DroppedRows`
  warning and rotates the rest back;
- raises `UserError`, one line that names the file, for a file that is damaged or of another format.

The docstring of a format's module says what it cannot hold: higher degrees of spherical
harmonics (also in `Format.sh_degree`), rounding, clipping. `gs3d convert` measures these losses
and reports them. The tests in tests/io/test_atomic.py, tests/ops/test_blocks.py and
tests/cli/assets/test_convert.py run for every entry of `FORMATS`.
"""
