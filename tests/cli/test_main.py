"""The command line: every fault is one line that names the thing, exit status 2, no traceback, nothing lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gs3d.cli.main import COMMANDS, main


def run(capsys, *argv: str) -> tuple[int, str, str]:
    try:
        status = main(list(argv))
    except SystemExit as stop:  # usage errors and --help
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
    return [
        "--prior",
        str(tiny_builtin_folder),
        "--out",
        str(tmp_path / "run"),
        "--device",
        "cpu",
        "--config",
        "builtin",
    ]


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
        (["a tree", "--steps", "0"], "--steps: expected a whole number, 1 or more, got 0"),
        (["a tree", "--steps", "1", "--minutes", "1"], "--minutes or --steps, not both"),
    ],
)
def test_bad_requests(capsys, tiny, tmp_path, arguments, expected):
    assert expected in one_line_fault(capsys, "generate", *arguments, *tiny)
    assert not (tmp_path / "run" / "run.yaml").exists()


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["a tree", "--minutes", "abc"], "--minutes: expected a number, got 'abc'"),
        (["a tree", "--minutes=abc"], "--minutes: expected a number, got 'abc'"),
        (["a tree", "--steps", "1.5"], "--steps: expected a whole number, got '1.5'"),
        (["a tree", "--steps"], "--steps: expected a whole number, got nothing"),
        (
            ["a tree", "--minuts", "3"],
            "unknown option: expected --minutes or another of this command, got --minuts",
        ),
        (["a tree", "--guidance", "csd"], "--guidance: expected cds or sds, got 'csd'"),
        (["a tree", "--resume=yes"], "--resume: expected no value, got 'yes'"),
        ([], "PROMPT: expected a text, got nothing"),
        (["--seed", "-3"], "PROMPT: expected a text, got nothing"),
        (
            ["a", "red", "tree"],
            "PROMPT: expected one, in quotes if it has spaces, got 'a red tree'",
        ),
    ],
)
def test_usage_errors(capsys, arguments, expected):
    assert (
        one_line_fault(capsys, "generate", *arguments)
        == f"gs3d generate: {expected}; see gs3d generate --help\n"
    )


def test_usage_errors_of_other_commands(capsys):
    assert "gs3d render: FILE: expected a path, got nothing" in one_line_fault(capsys, "render")
    assert "gs3d render: -o: expected a path, got nothing" in one_line_fault(
        capsys, "render", "a.ply", "-o"
    )
    assert "gs3d vocab: arguments: expected none, got 'all'" in one_line_fault(
        capsys, "vocab", "all"
    )
    assert "expected --build or another" in one_line_fault(capsys, "doctor", "--biuld")


def test_a_usage_error_that_is_not_understood_is_still_one_line(capsys, monkeypatch):
    from gs3d.cli import parse

    monkeypatch.setattr(parse, "usage_faults", lambda args, argv: iter(()))
    fault = one_line_fault(capsys, "generate", "a tree", "--minutes", "abc")
    assert fault.startswith("gs3d generate: ") and "--minutes" in fault and "abc" in fault
    assert fault.isascii() and fault.count("--help") == 1


def test_unknown_prior(capsys, tmp_path):
    fault = one_line_fault(
        capsys,
        "generate",
        "a tree",
        "--steps",
        "1",
        "--prior",
        "bultin",
        "--out",
        str(tmp_path / "r"),
    )
    assert "prior bultin: unknown name; did you mean builtin" in fault


def test_missing_weights_without_network(capsys, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fault = one_line_fault(
        capsys,
        "generate",
        "a tree",
        "--steps",
        "1",
        "--prior",
        "sd21-base",
        "--out",
        str(tmp_path / "r"),
    )
    assert "prior sd21-base: not in the cache" in fault and "--prior builtin" in fault


def test_config_with_a_misspelt_key(capsys, tiny, tmp_path):
    (tmp_path / "c.yaml").write_text("gausians: {count: 5}\n")
    fault = one_line_fault(
        capsys, "generate", "a tree", "--steps", "1", *tiny[:-1], str(tmp_path / "c.yaml")
    )
    assert "unknown setting 'gausians'; did you mean 'gaussians'" in fault


def test_out_is_a_file(capsys, tiny, tmp_path):
    (tmp_path / "run").write_text("precious")
    assert "is a file; expected a folder" in one_line_fault(
        capsys, "generate", "a tree", "--steps", "1", *tiny
    )
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_is_read_only(capsys, tiny, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in one_line_fault(
        capsys, "generate", "a tree", "--steps", "1", *tiny
    )


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
    assert "names no kind of thing that the prior" in out


def test_a_prompt_that_names_a_kind_is_not_warned_of(capsys, tiny):
    _, out, _ = run(capsys, "generate", "a red mushroom", "--steps", "1", *tiny)
    assert "names no kind" not in out


def test_plain_output_ends_with_the_files(capsys, tiny, tmp_path):
    status, out, _ = run(capsys, "generate", "a red mushroom", "--steps", "2", *tiny)
    assert status == 0
    for name in (
        "splats.ply",
        "preview.png",
        "turntable.mp4",
        "progress.png",
        "log.png",
        "run.yaml",
        "log.jsonl",
    ):
        assert str(tmp_path / "run" / name) in out


def test_render_and_its_faults(capsys, tiny, tmp_path):
    run(capsys, "generate", "a red mushroom", "--steps", "1", *tiny)
    ply = str(tmp_path / "run" / "splats.ply")
    for name in ("sheet.png", "turn.mp4"):
        status, out, err = run(
            capsys, "render", ply, "-o", str(tmp_path / name), "--size", "64", "--views", "4"
        )
        assert status == 0 and (tmp_path / name).stat().st_size > 500, err
    assert "expected a name ending in .png, .mp4, .gif, .webp" in one_line_fault(
        capsys, "render", ply, "-o", "x.avi"
    )
    assert "--size" in one_line_fault(capsys, "render", ply, "--size", "5")
    status, _, err = run(capsys, "render", str(tmp_path / "run"), "--size", "64", "--views", "4")
    assert status == 0 and (tmp_path / "run" / "render.png").stat().st_size > 500, err
    assert "is no folder of a finished run" in one_line_fault(
        capsys, "render", str(tmp_path), "-o", str(tmp_path / "x.png")
    )
    cut = tmp_path / "cut.ply"
    cut.write_bytes(Path(ply).read_bytes()[:2000])
    assert "cut.ply" in one_line_fault(capsys, "render", str(cut))
    mesh = tmp_path / "mesh.ply"
    mesh.write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n"
    )
    assert "mesh.ply" in one_line_fault(capsys, "render", str(mesh))
    assert "none.ply" in one_line_fault(capsys, "render", str(tmp_path / "none.ply"))


def test_render_refuses_a_sheet_that_cannot_be_held(capsys, tmp_path):
    fault = one_line_fault(
        capsys, "render", str(tmp_path / "x.ply"), "--size", "4096", "--views", "100"
    )
    assert (
        "at most 200 megapixels, got 1678 (100 pictures of 4096²); lower --size to 1414 or --views to 11"
        in fault
    )


def test_render_of_a_sheet_that_pillow_would_take_for_an_attack(
    capsys, tiny, tmp_path, monkeypatch
):
    from PIL import Image

    run(capsys, "generate", "a red mushroom", "--steps", "1", *tiny)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    status, _, err = run(
        capsys,
        "render",
        str(tmp_path / "run" / "splats.ply"),
        "-o",
        str(tmp_path / "s.png"),
        "--size",
        "32",
    )
    assert status == 0 and err == ""


def test_frames_are_rendered_a_few_at_a_time(monkeypatch):
    import torch

    import gs3d
    from gs3d.core.types import Splats
    from gs3d.runs.outputs import files as export

    batches, draw = [], export.draw
    monkeypatch.setattr(
        export,
        "draw",
        lambda made, cameras, color: batches.append(len(cameras)) or draw(made, cameras, color),
    )
    one = Splats(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.2),
        torch.ones(1),
        torch.ones(1, 1, 3),
    )
    cameras = gs3d.ring(5, 32)
    shots = list(export.frames(one, cameras, chunk=2))
    assert batches == [2, 2, 1] and shots[0].shape == (32, 32, 3)
    monkeypatch.setattr(export, "CHUNK_PX", 1)
    assert torch.equal(
        export.pictures(one, cameras), torch.stack([torch.from_numpy(s) for s in shots])
    )
    assert batches[3:] == [1] * 5


def test_a_preview_that_fails_does_not_cost_the_splats(tmp_path, monkeypatch):
    import torch

    from gs3d.representations.gaussians.config import GaussianConfig
    from gs3d.representations.gaussians.densify import DensifyConfig
    from gs3d.representations.gaussians.gaussians import Gaussians
    from gs3d.runs.outputs import files as export

    def broken(*_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(export, "draw", broken)
    cloud = Gaussians.blob(GaussianConfig(count=3), 0, "cpu", DensifyConfig())
    with torch.no_grad():
        cloud.params["means"][1] = float("nan")
    written = export.write_results(tmp_path, cloud)
    assert written.files == [tmp_path / "splats.ply"] and len(written.asset) == 2
    assert len(written.warnings) == 3 and "RuntimeError: CUDA error" in written.warnings[1]


def test_vocab_lists_every_kind_and_color_that_the_prior_knows_and_no_other(capsys, monkeypatch):
    from gs3d.priors import builtin
    from gs3d.world.captions import words
    from gs3d.world.colors import NAMED
    from gs3d.world.kinds import KINDS

    known = builtin.known_words()
    assert {"mushroom", "red", "spots", "photo", "overhead"} <= known
    monkeypatch.setattr(builtin, "known_words", lambda folder: known - {"mushroom", "stripes"})
    status, out, _ = run(capsys, "vocab")
    assert status == 0 and "mushroom" not in out and "stripes" not in out
    for text in [*KINDS, *NAMED, "spots"]:
        assert (text in out) == (set(words(text)) <= known - {"mushroom"})


def test_vocab_of_another_prior(capsys, tiny_sd_folder):
    status, out, _ = run(capsys, "vocab", "--prior", "builtin-mv")
    assert (
        status == 0 and "mushroom" in out and "elephant" not in out
    )  # it was trained when the world was smaller
    assert "elephant" in run(capsys, "vocab")[1]
    assert "reads any text" in one_line_fault(capsys, "vocab", "--prior", str(tiny_sd_folder))


def test_doctor_says_something_about_each_thing(capsys):
    _, out, _ = run(capsys, "doctor")
    for thing in (
        "Python",
        "torch",
        "CUDA",
        "CPU rasterizer",
        "gsplat",
        "prior builtin",
        "prior sd21-base",
        "memory",
        "disk",
    ):
        assert thing in out


def test_doctor_reports_a_build_that_fails(capsys, tmp_path, monkeypatch):
    import torch

    from gs3d.core.errors import UserError
    from gs3d.raster import cpu, cuda

    def build():
        whole = "ninja: error\nnvcc fatal: Unsupported gpu architecture"
        raise UserError(f"gsplat could not be built. The build said:\n{whole}") from RuntimeError(
            "first words\n" + whole
        )

    monkeypatch.setenv("GS3D_CACHE", str(tmp_path))
    monkeypatch.setattr(cpu, "warm_up", lambda: None)
    monkeypatch.setattr(cuda, "build", build)
    from gs3d.cli.tools import doctor

    monkeypatch.setattr(doctor, "findings", lambda: [doctor.Finding("disk", "enough")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    status, out, err = run(capsys, "doctor", "--build")
    assert status == 1 and err == "" and "enough" in out
    assert (
        "cannot be compiled: nvcc fatal: Unsupported gpu architecture" in out
        and "ninja: error" not in out
    )
    assert (
        str(tmp_path / "gsplat-build.log") in out
        and "first words" in (tmp_path / "gsplat-build.log").read_text()
    )


def test_help_version_and_unknown_commands(capsys):
    assert run(capsys, "--help")[0] == 0
    assert run(capsys, "--version")[1].startswith("gs3d 0.")
    assert "did you mean generate" in one_line_fault(capsys, "generat")
    status, out, _ = run(capsys, "generate", "--help")
    assert status == 0 and "--minutes" in out and "--guidance" in out


@pytest.mark.parametrize(
    "number,status,word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_exports_what_there_is_and_has_its_own_status(
    tiny, tmp_path, number, status, word
):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "gs3d",
        "generate",
        "a red mushroom",
        "--steps",
        "100000",
        *tiny,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while (
        not ((out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size)
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(number)
    said, fault = process.communicate(timeout=120)
    assert process.returncode == status and "Traceback" not in fault, fault
    assert word in said and "--resume" in said
    for name in ("splats.ply", "preview.png", "turntable.mp4"):
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize(
    "command,said",
    [("generate", "gs3d: interrupted; add --resume"), ("vocab", "gs3d: interrupted\n")],
)
def test_ctrl_c_elsewhere(capsys, monkeypatch, command, said):
    from importlib import import_module

    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        import_module(f"gs3d.cli.{COMMANDS[command][0]}.{command}"), "run", interrupted
    )
    status, _, err = run(capsys, command)
    assert status == 130 and err.startswith(said)


def with_nobody_reading(*argv: str) -> subprocess.CompletedProcess:
    """`gs3d` with a standard output that is a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "gs3d", *argv],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("argv", [["vocab"], ["--help"], ["generate", "--help"]])
def test_a_reader_that_leaves(argv):
    done = with_nobody_reading(*argv)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_goes_on_without_its_reader(tiny, tmp_path):
    done = with_nobody_reading("generate", "a rad mushroom", "--steps", "2", *tiny)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(
        (tmp_path / "run" / name).stat().st_size
        for name in ("splats.ply", "preview.png", "turntable.mp4")
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_to_a_full_disk(tiny, tmp_path):
    def full(*argv: str) -> subprocess.CompletedProcess:
        with open("/dev/full", "w") as disk:
            return subprocess.run(
                [sys.executable, "-m", "gs3d", *argv],
                stdout=disk,
                stderr=subprocess.PIPE,
                text=True,
                timeout=120,
            )

    done = full("generate", "a red mushroom", "--steps", "2", *tiny)
    assert (done.returncode, done.stderr) == (0, "") and (
        tmp_path / "run" / "turntable.mp4"
    ).stat().st_size
    done = full("vocab")
    assert done.returncode == 2 and done.stderr.startswith(
        "gs3d: standard output cannot be written (No space left"
    )


def test_a_terminal_that_goes_away(monkeypatch):
    import torch

    from gs3d.cli.progress import Progress
    from gs3d.distill.budget import Budget
    from gs3d.distill.step import StepLog

    class Terminal:
        gone, encoding = False, "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            if self.gone:
                raise OSError(5, "Input/output error")

        def flush(self):
            self.write("")

    terminal, fault = Terminal(), sys.stderr
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    with Progress() as progress:
        progress.say("there")
        terminal.gone = True
        entry = StepLog(
            step=1,
            progress=0.5,
            loss=torch.ones(()),
            grad_norm=torch.ones(()),
            count=1,
            counts="splats",
            skipped=False,
            values={},
        )
        progress.update(entry, Budget(10, None, 0.0, time.monotonic()))
        progress.say("gone")
    assert sys.stderr is fault and sys.stdout is not terminal


def test_import_is_light():
    heavy = {"numba", "diffusers", "transformers", "gsplat", "tyro", "rich", "av", "plyfile"}
    code = "import torch, sys, gs3d; gs3d.generate, gs3d.load; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_help_does_not_wait_for_torch():
    code = "import sys; from gs3d.cli.main import COMMANDS, main; main(['--help']); print('torch' in sys.modules)"
    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.endswith("False\n")


def test_truth_says_when_parts_are_thinner_than_its_grid(capsys, tmp_path):
    status, said, _ = run(
        capsys, "truth", "a small red plane", "-o", str(tmp_path / "a.ply"), "--resolution", "24"
    )
    enough = re.search(
        r"parts are thinner than a cell and may have holes or be missing; --resolution (\d+) has them all",
        said,
    )
    assert status == 0 and enough
    assert (
        "warning"
        not in run(
            capsys,
            "truth",
            "a small red plane",
            "-o",
            str(tmp_path / "a.ply"),
            "--resolution",
            enough[1],
        )[1]
    )


def test_truth_makes_a_mesh_and_a_picture(capsys, tmp_path):
    import trimesh
    from PIL import Image

    path = tmp_path / "chair.glb"
    status, out, _ = run(
        capsys,
        "truth",
        "a DSLR photo of a blue chair with yellow legs",
        "-o",
        str(path),
        "--resolution",
        "32",
    )
    assert status == 0 and str(path) in out
    first = trimesh.load(path, force="mesh").vertices
    run(
        capsys,
        "truth",
        "a blue chair with yellow legs",
        "-o",
        str(path),
        "--resolution",
        "32",
        "--number",
        "1",
    )
    assert trimesh.load(path, force="mesh").vertices.shape != first.shape
    picture = tmp_path / "chair.png"
    assert (
        run(capsys, "truth", "a blue chair with yellow legs", "-o", str(picture), "--size", "32")[0]
        == 0
    )
    assert Image.open(picture).size == (128, 64)


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["a red corgi"], "the world has no word for 'corgi'; expected a [SIZE]"),
        (["a red mushrom"], "the world has no word for 'mushrom' (did you mean 'mushroom'?)"),
        (["a chair"], "it does not say which color it has"),
        (["a red view"], "it does not say what it is"),
        (["a red chair with red legs"], "each word is known, but not in this order or company"),
        ([""], "it does not say what it is"),
        (["a red chair", "-o", "chair.stl"], "-o chair.stl: expected a name ending in one of"),
        (["a red chair", "--resolution", "4"], "--resolution: expected 16 to 512, got 4"),
        (["a red chair", "--size", "0"], "--size: expected 16 to 2048, got 0"),
        (["a red chair", "--number", "-1"], "--number: expected 0 to 9999, got -1"),
        (
            ["a red chair", "-o", "missing/chair.glb", "--resolution", "512"],
            "missing does not exist",
        ),
    ],
)
def test_bad_requests_for_truth(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_fault(capsys, "truth", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def splats_file(tmp_path_factory):
    import numpy as np

    from gs3d.evaluation.reference import reference_splats
    from gs3d.io import save_splats
    from gs3d.world.sample import sample

    path = tmp_path_factory.mktemp("run") / "splats.ply"
    save_splats(
        path, reference_splats(sample(np.random.default_rng(0), "mug", "red").parts, size_px=48)
    )
    return path


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_mesh_of_a_run_or_a_file(capsys, splats_file, tmp_path, suffix):
    import trimesh

    out = tmp_path / f"mug{suffix}"
    status, said, err = run(
        capsys,
        "mesh",
        str(splats_file),
        "-o",
        str(out),
        "--resolution",
        "32",
        "--faces",
        "500",
        "--texture",
        "64",
    )
    assert status == 0 and str(out) in said, err
    read = trimesh.load(out, force="mesh", process=False)
    assert 100 < len(read.faces) <= 500
    if suffix == ".glb":
        assert read.visual.material.baseColorTexture.size == (64, 64)
        assert (
            run(
                capsys,
                "mesh",
                str(splats_file.parent),
                "--resolution",
                "32",
                "--faces",
                "500",
                "--texture",
                "64",
            )[0]
            == 0
        )
        assert (splats_file.parent / "mesh.glb").stat().st_size > 1000


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["--faces", "0"], "--faces: expected 100 to 2000000, got 0"),
        (["--resolution", "1"], "--resolution: expected 16 to 512, got 1"),
        (["--resolution", "4096"], "--resolution: expected 16 to 512, got 4096"),
        (["--texture", "100000"], "--texture: expected 16 to 8192, got 100000"),
        (["-o", "mesh.stl"], "-o mesh.stl: expected a name ending in one of"),
    ],
)
def test_bad_requests_for_a_mesh(capsys, splats_file, arguments, expected):
    assert expected in one_line_fault(capsys, "mesh", str(splats_file), *arguments)


def test_a_mesh_never_takes_the_place_of_its_splats(capsys, splats_file, tmp_path):
    before = splats_file.read_bytes()
    assert "the mesh would take its place; give another name with -o" in one_line_fault(
        capsys, "mesh", str(splats_file), "-o", str(splats_file)
    )
    assert splats_file.read_bytes() == before
    made = tmp_path / "true.glb"
    assert main(["truth", "a red mug", "-o", str(made)]) == 0
    capsys.readouterr()
    assert "expected Gaussian splats" in one_line_fault(capsys, "mesh", str(made))
    assert "is no folder of a finished run; neither splats.ply nor mesh.glb" in one_line_fault(
        capsys, "mesh", str(tmp_path)
    )
    assert "no such file or folder; expected a run's folder" in one_line_fault(
        capsys, "mesh", str(tmp_path / "nothing")
    )
