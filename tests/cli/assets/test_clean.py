"""`gs3d clean`: each step, their order, and invalid arguments."""

import numpy as np
import plyfile
import pytest
import torch

from gs3d.io import load_splats, save_splats
from tests.cli.assets.files import ball, write_nan_rows
from tests.cli.commands import one_line_fault, run

FLAGS = (
    "--crop",
    "--min-opacity",
    "--max-scale",
    "--floaters",
    "--decimate",
    "--smooth",
    "--center",
    "--radius",
    "--rotate-deg",
)


def test_all_steps_in_their_order(capsys, tmp_path):
    splats = ball()
    splats.opacities[:100] = 0.01
    splats.scales[100:103, 1] = 2.0
    splats.means[103] = torch.tensor([0.0, 0, 5])
    splats.means[104] = torch.tensor([50.0, 0, 0])
    source, path = tmp_path / "in.ply", tmp_path / "out.ply"
    save_splats(source, splats)
    write_nan_rows(source, 2)
    steps = ["--rotate-deg", "0", "0", "90", "--radius", "0.5", "--center", "--decimate", "1000"]
    steps += ["--floaters", "--max-scale", "0.5", "--min-opacity", "0.02"]
    steps += ["--crop", "-9", "-9", "-9", "9", "9", "9"]
    status, out, err = run(capsys, "clean", *steps, str(source), "-o", str(path))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "2 of 2000 rows hold NaN" in lines[0]
    words = [line.split() for line in lines[1:6]]
    assert [(flag, removed, left) for flag, removed, _, left, _ in words] == [
        ("--crop", "1", "1997"),
        ("--min-opacity", "98", "1899"),
        ("--max-scale", "3", "1896"),
        ("--floaters", "1", "1895"),
        ("--decimate", "895", "1000"),
    ]
    assert lines[-1].startswith(f"1000 of 2000 splats -> {path}, ")
    assert load_splats(path).means.norm(dim=1).max() == pytest.approx(0.5, abs=1e-3)


def test_smoothing_widens_by_pixels_of_a_view_that_the_object_fills(capsys, ply, tmp_path):
    path, before = tmp_path / "out.ply", load_splats(ply)
    status, _, err = run(capsys, "clean", str(ply), "-o", str(path), "--smooth", "0.5@64")
    assert status == 0, err
    radius = (before.means - before.means.mean(0)).norm(dim=1).max()
    width = (load_splats(path).scales.square() - before.scales.square()).sqrt()
    assert width.min() == pytest.approx(float(width.max()), rel=0.01)
    assert width.max() == pytest.approx(float(0.5 * 2 * radius / 64), rel=0.05)


def test_rotation(capsys, ply, tmp_path):
    path = tmp_path / "out.ply"
    run(capsys, "clean", str(ply), "-o", str(path), "--rotate-deg", "0", "0", "90")
    means = ball().means
    expected = torch.stack([-means[:, 1], means[:, 0], means[:, 2]], dim=1)
    assert torch.allclose(load_splats(path).means, expected, atol=1e-6)


def test_centre_is_an_alias_of_center(capsys, ply, tmp_path):
    for flag in ("--center", "--centre"):
        out = str(tmp_path / f"{flag}.ply")
        assert run(capsys, "clean", str(ply), f"-o={out}", flag)[0] == 0
    centered, alias = (tmp_path / f"{flag}.ply" for flag in ("--center", "--centre"))
    assert centered.read_bytes() == alias.read_bytes() != ply.read_bytes()


def test_no_empty_file_is_written(capsys, ply, tmp_path):
    path = tmp_path / "out.ply"
    path.write_text("keep")
    steps = ["--min-opacity", "0.5", "--crop", "5", "5", "5", "6", "6", "6"]
    message = one_line_fault(capsys, "clean", str(ply), "-o", str(path), *steps)
    assert "--crop: removes all 2000 splats, so nothing was written; gs3d info" in message
    assert path.read_text() == "keep"


def test_missing_steps_are_listed(capsys, ply, tmp_path):
    message = one_line_fault(capsys, "clean", str(ply), "-o", str(tmp_path / "out.ply"))
    help_text = run(capsys, "clean", "--help")[1]
    assert all(flag in message and flag in help_text for flag in FLAGS)


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["--min-opacity", "0"], "--min-opacity: expected a number above 0, at most 1, got 0"),
        (["--min-opacity", "nan"], "--min-opacity: expected a number above 0, at most 1, got nan"),
        (["--max-scale", "-1"], "--max-scale: expected a number above 0, got -1"),
        (["--smooth", "nan@64"], "--smooth: expected PX@SIZE, as 0.55@512, with SIZE from 8"),
        (["--smooth", "-1@64"], "below a quarter of it, got '-1@64'"),
        (["--smooth", "16@64"], "below a quarter of it, got '16@64'"),
        (["--smooth", "0.5"], "below a quarter of it, got '0.5'"),
        (["--radius", "inf"], "--radius: expected a number above 0, got inf"),
        (["--decimate", "0"], "--decimate: expected a whole number, 1 or more, got 0"),
        (["--decimate", "1.5"], "--decimate: expected a whole number, got '1.5'"),
        (
            ["--crop", "1", "0", "0", "0", "1", "1"],
            "--crop: expected X0 Y0 Z0 X1 Y1 Z1, the lower corner first, got 1 0 0 0 1 1",
        ),
        (
            ["--crop", "0", "0", "nan", "1", "1", "1"],
            "--crop: expected X0 Y0 Z0 X1 Y1 Z1, the lower corner first, got 0 0 nan 1 1 1",
        ),
        (["--crop", "-1", "-1", "1"], "--crop: expected 6 values, got 3"),
        (["--crop=1"], "--crop: expected 6 values, got 1"),
        (["--rotate-deg", "0", "0", "left"], "--rotate-deg: expected a number, got 'left'"),
        (
            ["--rotate-deg", "0", "0", "inf"],
            "--rotate-deg: expected three finite numbers, got 0 0 inf",
        ),
        (["--rotate-deg"], "--rotate-deg: expected a number, got nothing"),
        (["--center"], "-o: expected an output file, a name ending in one of"),
        (["--center", "-o", "out.xyz"], "cannot write out.xyz: expected a name ending in one of"),
        (["--floater"], "unknown option: expected --floaters"),
    ],
)
def test_invalid_arguments(capsys, ply, arguments, expected):
    assert expected in one_line_fault(capsys, "clean", str(ply), *arguments)


def test_centering_keeps_double_positions_exact(capsys, tmp_path):
    source, path = tmp_path / "in.ply", tmp_path / "out.ply"
    save_splats(source, ball(32, degree=0))
    table = np.array(plyfile.PlyData.read(str(source))["vertex"].data)
    wide = np.zeros(32, [(n, "<f8" if n in "xyz" else "<f4") for n in table.dtype.names])
    for name in table.dtype.names:
        wide[name] = table[name]
    wide["x"] = 4649776.25 + 0.01 * np.arange(32)
    plyfile.PlyData([plyfile.PlyElement.describe(wide, "vertex")]).write(str(source))
    status, out, _ = run(capsys, "clean", str(source), "-o", str(path), "--center")
    assert status == 0 and "warning" not in out
    x = np.sort(plyfile.PlyData.read(str(path))["vertex"]["x"])
    assert np.allclose(np.diff(x), 0.01, atol=1e-6)
    status, out, _ = run(capsys, "clean", str(source), "-o", str(path), "--min-opacity", "0.01")
    assert status == 0 and "are rounded by up to 0.25" in out


def test_what_a_format_does_not_keep_is_reported(capsys, ply, tmp_path):
    path = str(tmp_path / "out.splat")
    status, out, _ = run(capsys, "clean", str(ply), "-o", path, "--center")
    assert status == 0 and f"{path} does not keep the harmonics above degree 0" in out
