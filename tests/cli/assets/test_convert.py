"""`gs3d convert`: every format in and out, reported losses, no file overwritten by accident."""

import json
import zipfile
import zlib
from dataclasses import replace

import pytest

from gs3d.io import FORMATS, Format, load_splats, readable, save_splats
from gs3d.io.splats.ply import read_ply, write_ply
from tests.cli.assets.files import ball, write_nan_rows
from tests.cli.commands import one_line_fault, run


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_and_back(capsys, ply, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    status, out, err = run(capsys, "convert", str(ply), str(path))
    assert status == 0 and err == "" and "2000 splats, SH degree" in out and f"-> {path}, " in out
    if suffix in readable():
        status, out, _ = run(capsys, "convert", str(path), str(tmp_path / "back.ply"))
        assert status == 0 and len(load_splats(tmp_path / "back.ply")) == 2000


def test_sh_degree_is_lowered_and_an_existing_file_is_replaced(capsys, tmp_path):
    source, path = tmp_path / "in.ply", tmp_path / "out.ply"
    save_splats(source, ball(degree=3))
    path.write_text("old")
    status, out, _ = run(capsys, "convert", str(source), str(path), "--sh-degree", "1")
    assert status == 0
    assert out == f"2000 splats, SH degree 1: {source}, 497.6 kB -> {path}, 208.7 kB\n"
    assert load_splats(path).sh.shape == (2000, 4, 3)


def test_sh_pad_adds_zeros(capsys, tmp_path):
    source, path = tmp_path / "in.ply", tmp_path / "padded.ply"
    save_splats(source, ball(degree=0))
    status, out, _ = run(capsys, "convert", str(source), str(path), "--sh-pad", "3")
    assert status == 0 and "does not keep" not in out
    back = load_splats(path)
    assert back.sh.shape == (2000, 16, 3) and not back.sh[:, 1:].any()


def test_all_splats_of_a_batch(capsys, ply, tmp_path):
    for name in ("a-red-cup-s0", "a-blue-cup-s0", "damaged-s0"):
        (tmp_path / "batch" / name).mkdir(parents=True)
        (tmp_path / "batch" / name / "splats.ply").write_bytes(ply.read_bytes())
    (tmp_path / "batch" / "workers").mkdir()
    (tmp_path / "batch" / "a-mesh-s0").mkdir()
    (tmp_path / "batch" / "a-mesh-s0" / "run.yaml").touch()
    (tmp_path / "batch" / "damaged-s0" / "splats.ply").write_bytes(ply.read_bytes()[:3000])
    web = tmp_path / "for" / "web"
    status, out, err = run(capsys, "convert", str(tmp_path / "batch"), str(web), "--to", "spz")
    assert status == 1 and "damaged-s0" in err and len(err.splitlines()) == 1
    assert out.splitlines()[-2:] == [
        f"2 of 3 runs converted, in {web}",
        "left out: 1 without splats.ply, which have a mesh, or nothing yet",
    ]
    assert sorted(p.name for p in web.iterdir()) == ["a-blue-cup-s0.spz", "a-red-cup-s0.spz"]
    assert len(load_splats(web / "a-red-cup-s0.spz")) == 2000


def test_folders_and_suffixes_that_cannot_be_converted(capsys, ply, tmp_path):
    to = str(tmp_path / "web")
    (tmp_path / "empty").mkdir()
    for source, suffix, message in (
        (ply, "spz", "--to: expected the folder of a batch"),
        (tmp_path / "empty", "spz", "contains no folder of a run with splats.ply"),
    ):
        assert message in one_line_fault(capsys, "convert", str(source), to, "--to", suffix)
    (tmp_path / "empty" / "a").mkdir()
    (tmp_path / "empty" / "a" / "splats.ply").write_bytes(ply.read_bytes())
    for options, expected in (
        ((".xyz",), "--to: expected one of .compressed.ply, "),
        ((".sog", "--spz-version", "3"), "--spz-version: applies to .spz only"),
    ):
        many = ("convert", str(tmp_path / "empty"), to, "--to", *options)
        assert expected in one_line_fault(capsys, *many) and not (tmp_path / "web").exists()


def test_spz_version(capsys, ply, tmp_path):
    path = tmp_path / "old.spz"
    status, _, _ = run(capsys, "convert", str(ply), str(path), "--spz-version", "2")
    assert status == 0 and zlib.decompress(path.read_bytes(), wbits=31)[4] == 2


def test_options_of_another_format(capsys, ply, tmp_path):
    path = str(tmp_path / "out.splat")
    message = one_line_fault(capsys, "convert", str(ply), path, "--sh-pad", "3")
    assert "--sh-pad: applies to .ply only, and OUT is .splat" in message
    path = str(tmp_path / "out.spz")
    message = one_line_fault(capsys, "convert", str(ply), path, "--spz-version", "7")
    assert "--spz-version: expected 2, 3, 4, got 7" in message


def write_plain(path, splats):
    """Writer of a format that has only plain colors in [0, 1]."""
    write_ply(path, replace(splats, sh=splats.sh[:, :1].clamp(-1.7725, 1.7725)))


def read_plain(path):
    return read_ply(path)


def test_losses_of_a_format_are_reported(capsys, tmp_path, monkeypatch):
    own = Format(f"{__name__}:write_plain", sh_degree=0)
    monkeypatch.setitem(FORMATS, ".plain.ply", own)
    splats = ball()
    splats.sh[0, 0] = 3
    source, path = tmp_path / "in.ply", tmp_path / "a.plain.ply"
    save_splats(source, splats)
    status, out, _ = run(capsys, "convert", str(source), str(path))
    assert status == 0 and "warning" not in out  # without a reader, losses are unknown
    own = replace(own, read=f"{__name__}:read_plain")
    monkeypatch.setitem(FORMATS, ".plain.ply", own)
    status, out, _ = run(capsys, "convert", str(source), str(path))
    assert status == 0 and "2000 splats, SH degree 0: " in out
    assert f"warning: {path} does not keep the harmonics above degree 0\n" in out
    assert "does not keep colors from 0.331 to 1.35, which became 0.331 to 1\n" in out


def test_run_folder_without_splats(capsys, tmp_path):
    message = one_line_fault(capsys, "convert", str(tmp_path), str(tmp_path / "out.ply"))
    assert "expected a splat file, or the folder of a run that has made splats.ply" in message


def test_run_folder_and_invalid_rows(capsys, ply, tmp_path):
    write_nan_rows(ply, 3)
    folder = tmp_path / "run"
    folder.mkdir()
    ply.rename(folder / "splats.ply")
    status, out, err = run(capsys, "convert", str(folder), str(tmp_path / "out.ply"))
    assert status == 0 and err == "" and "3 of 2000 rows hold NaN" in out and "1997 splats" in out
    assert len(load_splats(tmp_path / "out.ply")) == 1997


@pytest.mark.parametrize("name", ["in.ply", "soft.ply", "hard.ply", "sub/../in.ply"])
@pytest.mark.parametrize("command", ["convert", "clean"])
def test_input_file_is_never_overwritten(capsys, ply, tmp_path, command, name):
    before = ply.read_bytes()
    (tmp_path / "soft.ply").symlink_to(ply)
    (tmp_path / "hard.ply").hardlink_to(ply)
    (tmp_path / "sub").mkdir()
    same = str(tmp_path / name)
    argv = [same] if command == "convert" else ["--center", "-o", same]
    message = one_line_fault(capsys, command, str(ply), *argv)
    assert "it is the file that is read; give another name" in message
    assert ply.read_bytes() == before


def test_invalid_arguments(capsys, ply, tmp_path):
    def fault(*argv):
        return one_line_fault(capsys, "convert", *argv)

    out = str(tmp_path / "out.ply")
    message = fault(str(ply), str(tmp_path / "out.xyz"))
    assert "expected a name ending in one of" in message
    assert all(suffix in message for suffix in FORMATS)
    assert "none does not exist. Create it" in fault(str(ply), str(tmp_path / "none" / "out.ply"))
    assert "the name is too long" in fault(str(ply), str(tmp_path / ("n" * 300 + ".ply")))
    assert "none.ply: there is no such file" in fault(str(tmp_path / "none.ply"), out)
    assert "cannot read" in fault("n" * 300 + ".ply", out)
    assert "OUT: expected a path, got nothing" in fault(str(ply))
    assert "--sh-degree: expected 0 to 3, got 4" in fault(str(ply), out, "--sh-degree", "4")
    (tmp_path / "bad.ply").write_bytes(ply.read_bytes()[:3000])
    assert "bad.ply" in fault(str(tmp_path / "bad.ply"), out)
    assert not (tmp_path / "out.ply").exists()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.ksplat", "the format .ksplat is not read. Export it as .ply or .splat"),
        ("a.gltf", "Export it as glTF Binary"),
        ("a.zip", "give it the suffix .sog"),
    ],
)
def test_formats_that_are_not_read_are_named(capsys, tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"abc")
    out = str(tmp_path / "out.ply")
    assert advice in one_line_fault(capsys, "convert", str(tmp_path / name), out)


def test_a_folder_of_a_sog_is_a_source(capsys, ply, tmp_path):
    run(capsys, "convert", str(ply), str(tmp_path / "a.sog"))
    with zipfile.ZipFile(tmp_path / "a.sog") as archive:
        archive.extractall(tmp_path / "scene")
    for name in ("scene", "scene/meta.json"):
        out = tmp_path / "out.ply"
        status, text, err = run(capsys, "convert", str(tmp_path / name), str(out))
        assert status == 0 and not err and "meta.json, " in text
        assert len(load_splats(out)) == len(load_splats(ply))
    size = sum(file.stat().st_size for file in (tmp_path / "scene").iterdir())
    status, text, _ = run(capsys, "info", str(tmp_path / "scene"), "--json")
    assert status == 0 and json.loads(text)["file_bytes"] == size


def test_positions_that_are_rounded_are_said_once(capsys, tmp_path):
    splats = ball()
    splats.means[0] = 1e6
    splats.scales.mul_(0.01)
    save_splats(tmp_path / "in.ply", splats)
    for suffix in (".spz", ".sog"):
        source, out = str(tmp_path / "in.ply"), str(tmp_path / f"out{suffix}")
        _, text, err = run(capsys, "convert", source, out)
        lines = [line for line in (text + err).splitlines() if line.startswith("warning:")]
        assert len(lines) == 1 and "position" in lines[0]


def test_clipping_is_said_once(capsys, tmp_path):
    source, path = tmp_path / "in.ply", str(tmp_path / "out.spz")
    splats = ball()
    save_splats(source, replace(splats, scales=splats.scales * 1e-4))
    status, out, _ = run(capsys, "convert", str(source), path)
    expected = f"warning: {path}: 2000 of 2000 splats have an axis below 4.5e-05, which is"
    assert status == 0 and expected in out and out.count("warning") == 1


def test_home_folder_in_paths(capsys, ply, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    status, out, _ = run(capsys, "convert", str(ply), "~/out.spz")
    assert status == 0 and (tmp_path / "out.spz").is_file()
    status, out, _ = run(capsys, "clean", "~/out.spz", "--out=~/out.splat", "--center")
    assert status == 0 and (tmp_path / "out.splat").is_file()
