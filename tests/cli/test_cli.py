"""The command line: every fault is one line that names the thing, exit status 2, no traceback, nothing lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gs3d.cli.main import main


def run(capsys, *argv: str) -> tuple[int, str, str]:
    try:
        status = main(list(argv))
    except SystemExit as stop:  # tyro's own usage errors and --help
        status = stop.code or 0
    out = capsys.readouterr()
    return status, out.out, out.err


def one_line_fault(capsys, *argv: str) -> str:
    status, _, err = run(capsys, *argv)
    assert status == 2, err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1, err
    return err


@pytest.fixture
def tiny(tiny_builtin_folder, tmp_path) -> list[str]:
    return ["--prior", str(tiny_builtin_folder), "--out", str(tmp_path / "run"), "--device", "cpu", "--config", "builtin"]


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["", "--steps", "1"], "prompt: it is empty"),
        (["   \t ", "--steps", "1"], "prompt: it is empty"),
        (["a " * 5000, "--steps", "1"], "expected at most 1000 characters, got 9999"),
        (["a red\x07 tree", "--steps", "1"], "control character U+0007"),
        (["a tree", "--minutes", "0"], "--minutes: expected a number above 0, got 0"),
        (["a tree", "--minutes", "-3"], "--minutes: expected a number above 0"),
        (["a tree", "--minutes", "nan"], "--minutes: expected a number above 0, got nan"),
        (["a tree", "--minutes", "inf"], "--minutes: expected a number above 0, got inf"),
        (["a tree", "--steps", "0"], "--steps: expected 1 or more, got 0"),
        (["a tree", "--steps", "1", "--minutes", "1"], "--minutes or --steps, not both"),
    ],
)
def test_bad_requests(capsys, tiny, tmp_path, arguments, expected):
    assert expected in one_line_fault(capsys, "generate", *arguments, *tiny)
    assert not (tmp_path / "run" / "run.yaml").exists()


def test_unknown_prior(capsys, tmp_path):
    fault = one_line_fault(capsys, "generate", "a tree", "--steps", "1", "--prior", "bultin", "--out", str(tmp_path / "r"))
    assert "prior bultin: unknown name; did you mean builtin" in fault


def test_missing_weights_without_network(capsys, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fault = one_line_fault(capsys, "generate", "a tree", "--steps", "1", "--prior", "sd21-base", "--out", str(tmp_path / "r"))
    assert "prior sd21-base: not in the cache" in fault and "--prior builtin" in fault


def test_config_with_a_misspelt_key(capsys, tiny, tmp_path):
    (tmp_path / "c.yaml").write_text("gausians: {count: 5}\n")
    fault = one_line_fault(capsys, "generate", "a tree", "--steps", "1", *tiny[:-1], str(tmp_path / "c.yaml"))
    assert "unknown setting 'gausians'; did you mean 'gaussians'" in fault


def test_out_is_a_file(capsys, tiny, tmp_path):
    (tmp_path / "run").write_text("precious")
    assert "is a file; expected a folder" in one_line_fault(capsys, "generate", "a tree", "--steps", "1", *tiny)
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_is_read_only(capsys, tiny, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in one_line_fault(capsys, "generate", "a tree", "--steps", "1", *tiny)


def test_full_disk_before_the_run(capsys, tiny, monkeypatch):
    import errno

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    fault = one_line_fault(capsys, "generate", "a tree", "--steps", "1", *tiny)
    assert "cannot be written (No space left on device)" in fault


def test_unknown_words_are_named_with_the_nearest_known(capsys, tiny):
    status, out, _ = run(capsys, "generate", "a rad mushrom", "--steps", "1", *tiny)
    assert status == 0
    assert "warning" in out and "rad" in out and "red" in out and "mushroom" in out


def test_plain_output_ends_with_the_files(capsys, tiny, tmp_path):
    status, out, _ = run(capsys, "generate", "a red mushroom", "--steps", "2", *tiny)
    assert status == 0
    for name in ("splats.ply", "preview.png", "turntable.mp4", "run.yaml", "log.jsonl"):
        assert str(tmp_path / "run" / name) in out


def test_render_and_its_faults(capsys, tiny, tmp_path):
    run(capsys, "generate", "a red mushroom", "--steps", "1", *tiny)
    ply = str(tmp_path / "run" / "splats.ply")
    for name in ("sheet.png", "turn.mp4"):
        status, out, err = run(capsys, "render", ply, "-o", str(tmp_path / name), "--size", "64", "--views", "4")
        assert status == 0 and (tmp_path / name).stat().st_size > 500, err
    assert "expected a name ending in .png or .mp4" in one_line_fault(capsys, "render", ply, "-o", "x.gif")
    assert "--size" in one_line_fault(capsys, "render", ply, "--size", "5")
    cut = tmp_path / "cut.ply"
    cut.write_bytes(Path(ply).read_bytes()[:2000])
    assert "cut.ply" in one_line_fault(capsys, "render", str(cut))
    mesh = tmp_path / "mesh.ply"
    mesh.write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n")
    assert "mesh.ply" in one_line_fault(capsys, "render", str(mesh))
    assert "none.ply" in one_line_fault(capsys, "render", str(tmp_path / "none.ply"))


def test_vocab_lists_every_kind_and_colour(capsys):
    from gs3d.world.colours import NAMED
    from gs3d.world.kinds import KINDS

    status, out, _ = run(capsys, "vocab")
    assert status == 0 and all(word in out for word in [*KINDS, *NAMED, "spots", "stripes"])


def test_doctor_says_something_about_each_thing(capsys):
    _, out, _ = run(capsys, "doctor")
    for thing in ("Python", "torch", "CUDA", "CPU rasteriser", "gsplat", "prior builtin", "prior sd21-base", "memory", "disk"):
        assert thing in out


def test_help_version_and_unknown_commands(capsys):
    assert run(capsys, "--help")[0] == 0
    assert run(capsys, "--version")[1].startswith("gs3d 0.")
    assert "did you mean generate" in one_line_fault(capsys, "generat")
    status, out, _ = run(capsys, "generate", "--help")
    assert status == 0 and "--minutes" in out and "--guidance" in out


def test_ctrl_c_exports_and_exits_130(tiny, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "gs3d", "generate", "a red mushroom", "--steps", "100000", *tiny]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not ((out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, fault = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in fault, fault
    assert "interrupted" in said and "--resume" in said
    for name in ("splats.ply", "preview.png", "turntable.mp4"):
        assert (out / name).stat().st_size > 0


def test_import_is_light():
    heavy = {"numba", "diffusers", "transformers", "gsplat", "tyro", "rich", "av", "plyfile"}
    code = "import torch, sys, gs3d; gs3d.generate, gs3d.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_help_does_not_wait_for_torch():
    code = "import sys; from gs3d.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.endswith("False\n")
