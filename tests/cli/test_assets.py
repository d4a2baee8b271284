"""`gs3d convert`, `info` and `clean`: any format in and out, what is lost is said, nothing is overwritten by accident."""

import json
import zlib
from dataclasses import replace

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.types import Mesh, Splats
from gs3d.io import READERS, WRITERS, load_splats, save_splats
from gs3d.io.mesh import write_mesh
from gs3d.io.splats.ply import read_ply, write_ply
from tests.cli.test_main import one_line_fault, run


def ball(count: int = 2000, degree: int = 1) -> Splats:
    gen = torch.Generator().manual_seed(0)
    means = 0.8 * torch.nn.functional.normalize(torch.randn(count, 3, generator=gen), dim=1)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=gen), dim=1)
    sh = 0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=gen).clamp(-2, 2)
    return Splats(
        means,
        quats,
        torch.full((count, 3), 0.03),
        0.05 + 0.9 * torch.rand(count, generator=gen),
        sh,
    )


@pytest.fixture
def ply(tmp_path):
    path = tmp_path / "in.ply"
    save_splats(path, ball())
    return path


def with_nan(path, rows: int) -> None:
    table = np.array(plyfile.PlyData.read(str(path))["vertex"].data)
    table["x"][:rows] = np.nan
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(str(path))


# convert


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_convert_to_every_format_and_back(capsys, ply, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    status, said, err = run(capsys, "convert", str(ply), str(out))
    assert status == 0 and err == "" and "2000 splats, SH degree" in said and f"-> {out}, " in said
    if suffix in READERS:
        status, said, _ = run(capsys, "convert", str(out), str(tmp_path / "back.ply"))
        assert status == 0 and len(load_splats(tmp_path / "back.ply")) == 2000


def test_convert_lowers_the_degree_and_replaces_a_file(capsys, tmp_path):
    save_splats(tmp_path / "in.ply", ball(degree=3))
    out = tmp_path / "out.ply"
    out.write_text("old")
    status, said, _ = run(capsys, "convert", str(tmp_path / "in.ply"), str(out), "--sh-degree", "1")
    assert status == 0 and said.count("\n") == 1
    assert said == f"2000 splats, SH degree 1: {tmp_path / 'in.ply'}, 497.6 kB -> {out}, 208.7 kB\n"
    assert load_splats(out).sh.shape == (2000, 4, 3)


def test_convert_for_viewers_that_read_one_layout_only(capsys, tmp_path):
    save_splats(tmp_path / "in.ply", ball(degree=0))
    status, said, _ = run(
        capsys, "convert", str(tmp_path / "in.ply"), str(tmp_path / "padded.ply"), "--sh-pad", "3"
    )
    assert status == 0 and "does not keep" not in said
    back = load_splats(tmp_path / "padded.ply")
    assert back.sh.shape == (2000, 16, 3) and not back.sh[:, 1:].any()
    status, said, _ = run(
        capsys, "convert", str(tmp_path / "in.ply"), str(tmp_path / "old.spz"), "--spz-version", "2"
    )
    assert status == 0 and zlib.decompress((tmp_path / "old.spz").read_bytes(), wbits=31)[4] == 2
    out = str(tmp_path / "out.splat")
    assert "--sh-pad: is of .ply alone, and OUT is .splat" in one_line_fault(
        capsys, "convert", str(tmp_path / "in.ply"), out, "--sh-pad", "3"
    )
    out = str(tmp_path / "out.spz")
    fault = one_line_fault(capsys, "convert", str(tmp_path / "in.ply"), out, "--spz-version", "7")
    assert "--spz-version: expected 2, 3, 4, got 7" in fault


def write_poor(path, splats):
    """A format that knows plain colors from 0 to 1 only."""
    write_ply(path, replace(splats, sh=splats.sh[:, :1].clamp(-1.7725, 1.7725)))


def read_poor(path):
    return read_ply(path)


def test_convert_says_what_a_format_drops(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(WRITERS, ".poor.ply", f"{__name__}:write_poor")
    splats = ball()
    splats.sh[0, 0] = 3
    save_splats(tmp_path / "in.ply", splats)
    status, said, _ = run(capsys, "convert", str(tmp_path / "in.ply"), str(tmp_path / "a.poor.ply"))
    assert status == 0 and "warning" not in said  # it cannot be read back
    monkeypatch.setitem(READERS, ".poor.ply", f"{__name__}:read_poor")
    status, said, _ = run(capsys, "convert", str(tmp_path / "in.ply"), str(tmp_path / "a.poor.ply"))
    assert status == 0 and "2000 splats, SH degree 0: " in said
    assert (
        f"warning: {tmp_path / 'a.poor.ply'} does not keep the harmonics above degree 0\n" in said
    )
    assert "does not keep colors from 0.331 to 1.35, which became 0.331 to 1\n" in said


def test_convert_of_a_run_and_of_rows_of_nan(capsys, ply, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with_nan(ply, 3)
    fault = one_line_fault(capsys, "convert", str(folder), str(tmp_path / "out.ply"))
    assert "expected a splat file, or the folder of a run that has made splats.ply" in fault
    ply.rename(folder / "splats.ply")
    status, said, err = run(capsys, "convert", str(folder), str(tmp_path / "out.ply"))
    assert status == 0 and err == "" and "3 of 2000 rows hold NaN" in said and "1997 splats" in said
    assert len(load_splats(tmp_path / "out.ply")) == 1997


@pytest.mark.parametrize("command", [["convert"], ["clean", "--center", "-o"]])
def test_a_file_never_takes_its_own_place(capsys, ply, tmp_path, command):
    before = ply.read_bytes()
    (tmp_path / "soft.ply").symlink_to(ply)
    (tmp_path / "hard.ply").hardlink_to(ply)
    (tmp_path / "sub").mkdir()
    for name in ("in.ply", "soft.ply", "hard.ply", "sub/../in.ply"):
        argv = (
            [*command, str(tmp_path / name), str(ply)]
            if command[-1] == "-o"
            else [*command, str(ply), str(tmp_path / name)]
        )
        assert "it is the file that is read; give another name" in one_line_fault(capsys, *argv)
    assert ply.read_bytes() == before


def test_bad_requests_for_a_conversion(capsys, ply, tmp_path):
    def fault(*argv):
        return one_line_fault(capsys, "convert", *argv)

    out = str(tmp_path / "out.ply")
    told = fault(str(ply), str(tmp_path / "out.xyz"))
    assert "expected a name ending in one of" in told and all(suffix in told for suffix in WRITERS)
    assert "none does not exist. Create it" in fault(str(ply), str(tmp_path / "none" / "out.ply"))
    assert "the name is too long" in fault(str(ply), str(tmp_path / ("n" * 300 + ".ply")))
    assert "none.ply: there is no such file" in fault(str(tmp_path / "none.ply"), out)
    assert "cannot read" in fault("n" * 300 + ".ply", out)
    assert "OUT: expected a path, got nothing" in fault(str(ply))
    assert "--sh-degree: expected 0 to 3, got 4" in fault(str(ply), out, "--sh-degree", "4")
    (tmp_path / "bad.ply").write_bytes(ply.read_bytes()[:3000])
    assert "bad.ply" in fault(str(tmp_path / "bad.ply"), out)
    assert not (tmp_path / "out.ply").exists()


# info


def test_info_of_splats(capsys, ply):
    status, said, err = run(capsys, "info", str(ply))
    assert status == 0 and err == ""
    assert (
        "splats   2000, SH degree 1\n" in said
        and "radius 0.80" in said
        and said.endswith("verdict  sound\n")
    )
    assert said.count("#" * 40) >= 2 and len(said.splitlines()) == 31 and said.isascii()


def test_info_says_what_is_odd(capsys, ply, tmp_path):
    splats = ball()
    save_splats(ply, replace(splats, opacities=torch.full((2000,), 0.01), means=splats.means + 5))
    with_nan(ply, 2)
    status, said, err = run(capsys, "info", str(ply))
    assert (
        status == 0
        and err == ""
        and "left out 2 rows" in said
        and "2 of 2000 rows hold NaN" in said
    )
    verdict = said.splitlines()[-1]
    for words in (
        "2 rows could not be read",
        "100% are nearly clear: gs3d clean --min-opacity",
        "from the origin",
        "--center --radius 1",
    ):
        assert words in verdict


def test_info_as_json(capsys, ply):
    status, said, _ = run(capsys, "info", str(ply), "--json")
    told = json.loads(said)
    assert status == 0 and told["count"] == 2000 and told["sound"] is True and told["odd"] == []
    assert told["file_bytes"] == ply.stat().st_size and sum(told["opacities"]["counts"]) == 2000
    with_nan(ply, 2)
    told = json.loads(run(capsys, "info", str(ply), "--json")[1])
    assert told["left_out"] == 2 and len(told["warnings"]) == 1 and told["sound"] is False


def test_info_of_a_mesh_and_of_a_run(capsys, tmp_path):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    write_mesh(
        tmp_path / "mesh.glb", Mesh(corners, faces, corners + 1, np.full((4, 3), 0.5, np.float32))
    )
    for source in (tmp_path / "mesh.glb", tmp_path):
        status, said, _ = run(capsys, "info", str(source))
        assert (
            status == 0
            and "mesh     4 vertices, 4 triangles, watertight\ntexture  none\n" in said
            and said.endswith("sound\n")
        )
    told = json.loads(run(capsys, "info", str(tmp_path), "--json")[1])
    assert (
        told["file"] == str(tmp_path / "mesh.glb") and told["kind"] == "mesh" and told["faces"] == 4
    )


def test_bad_requests_for_info(capsys, tmp_path):
    assert "no such file" in one_line_fault(capsys, "info", str(tmp_path / "none.ply"))
    assert "cannot read" in one_line_fault(capsys, "info", "n" * 300 + ".ply")
    assert "neither splats.ply nor mesh.glb is in it" in one_line_fault(
        capsys, "info", str(tmp_path)
    )
    (tmp_path / "a.xyz").write_text("")
    assert "a.xyz: expected a file name that ends in one of" in one_line_fault(
        capsys, "info", str(tmp_path / "a.xyz")
    )


# clean


def test_clean_step_by_step(capsys, tmp_path):
    splats = ball()
    splats.opacities[:100] = 0.01
    splats.scales[100:103, 1] = 2.0
    splats.means[103] = torch.tensor([0.0, 0, 5])
    splats.means[104] = torch.tensor([50.0, 0, 0])
    source, out = tmp_path / "in.ply", tmp_path / "out.ply"
    save_splats(source, splats)
    with_nan(source, 2)
    steps = [
        "--rotate-deg",
        "0",
        "0",
        "90",
        "--radius",
        "0.5",
        "--center",
        "--decimate",
        "1000",
        "--floaters",
    ]
    steps += [
        "--max-scale",
        "0.5",
        "--min-opacity",
        "0.02",
        "--crop",
        "-9",
        "-9",
        "-9",
        "9",
        "9",
        "9",
    ]
    status, said, err = run(capsys, "clean", *steps, str(source), "-o", str(out))
    assert (status, err) == (0, "")
    lines = [line.split() for line in said.splitlines()]
    assert "2 of 2000 rows hold NaN" in said.splitlines()[0]
    assert [(line[0], line[1], line[3]) for line in lines[1:6]] == [
        ("--crop", "1", "1997"),
        ("--min-opacity", "98", "1899"),
        ("--max-scale", "3", "1896"),
        ("--floaters", "1", "1895"),
        ("--decimate", "895", "1000"),
    ]
    assert said.splitlines()[-1].startswith(f"1000 of 2000 splats -> {out}, ")
    assert load_splats(out).means.norm(dim=1).max() == pytest.approx(0.5, abs=1e-3)


def test_clean_turns_the_object(capsys, ply, tmp_path):
    run(capsys, "clean", str(ply), "-o", str(tmp_path / "out.ply"), "--rotate-deg", "0", "0", "90")
    means = ball().means
    expected = torch.stack([-means[:, 1], means[:, 0], means[:, 2]], dim=1)
    assert torch.allclose(load_splats(tmp_path / "out.ply").means, expected, atol=1e-6)


def test_clean_never_writes_an_empty_file(capsys, ply, tmp_path):
    out = tmp_path / "out.ply"
    out.write_text("precious")
    fault = one_line_fault(
        capsys,
        "clean",
        str(ply),
        "-o",
        str(out),
        "--min-opacity",
        "0.5",
        "--crop",
        "5",
        "5",
        "5",
        "6",
        "6",
        "6",
    )
    assert "--crop: nothing is left of 2000 splats and nothing was written; gs3d info" in fault
    assert out.read_text() == "precious"


def test_clean_without_a_step_lists_them(capsys, ply, tmp_path):
    fault = one_line_fault(capsys, "clean", str(ply), "-o", str(tmp_path / "out.ply"))
    for flag in (
        "--crop",
        "--min-opacity",
        "--max-scale",
        "--floaters",
        "--decimate",
        "--center",
        "--radius",
        "--rotate-deg",
    ):
        assert flag in fault and flag in run(capsys, "clean", "--help")[1]


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["--min-opacity", "0"], "--min-opacity: expected a number above 0, at most 1, got 0"),
        (["--min-opacity", "nan"], "--min-opacity: expected a number above 0, at most 1, got nan"),
        (["--max-scale", "-1"], "--max-scale: expected a number above 0, got -1"),
        (["--radius", "inf"], "--radius: expected a number above 0, got inf"),
        (["--decimate", "0"], "--decimate: expected a whole number, 1 or more, got 0"),
        (["--decimate", "1.5"], "--decimate: expected a whole number, got '1.5'"),
        (
            ["--crop", "1", "0", "0", "0", "1", "1"],
            "--crop: expected X0 Y0 Z0 X1 Y1 Z1, the lower ends first, got 1 0 0 0 1 1",
        ),
        (
            ["--crop", "0", "0", "nan", "1", "1", "1"],
            "--crop: expected X0 Y0 Z0 X1 Y1 Z1, the lower ends first, got 0 0 nan 1 1 1",
        ),
        (["--crop", "-1", "-1", "1"], "--crop: expected 6 values, got 3"),
        (["--crop=1"], "--crop: expected 6 values, got 1"),
        (["--rotate-deg", "0", "0", "left"], "--rotate-deg: expected a number, got 'left'"),
        (
            ["--rotate-deg", "0", "0", "inf"],
            "--rotate-deg: expected three finite numbers, got 0 0 inf",
        ),
        (["--rotate-deg"], "--rotate-deg: expected a number, got nothing"),
        (["--center"], "-o: expected where to write, a name ending in one of"),
        (["--center", "-o", "out.xyz"], "cannot write out.xyz: expected a name ending in one of"),
        (["--floater"], "unknown option: expected --floaters"),
    ],
)
def test_bad_requests_for_cleaning(capsys, ply, arguments, expected):
    assert expected in one_line_fault(capsys, "clean", str(ply), *arguments)
