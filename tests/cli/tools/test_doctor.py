"""`gs3d doctor`: the report, and a failed build."""

from importlib.metadata import PackageNotFoundError

import torch

from gs3d.cli.tools import doctor
from gs3d.core.errors import UserError
from gs3d.raster import cpu, cuda
from tests.cli.commands import run

CHECKED = ("Python", "torch", "CUDA", "CPU rasterizer", "gsplat", "prior builtin")
CHECKED += ("sentencepiece", "protobuf", "peft", "prior sd21-base", "memory", "disk")


def test_report_has_a_line_for_each_check(capsys):
    _, out, _ = run(capsys, "doctor")
    assert all(name in out for name in CHECKED)


def test_packages_that_are_not_installed(capsys, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "findings", doctor._packages)
    status, out, _ = run(capsys, "doctor")
    needs = "not installed (the tokenizers of PixArt and DeepFloyd IF need it)"
    assert status == 0 and out.splitlines() == [
        f"note sentencepiece    {needs}",
        f"{'':<21} -> pip install sentencepiece",
        f"note protobuf         {needs}",
        f"{'':<21} -> pip install protobuf",
        "ok   peft             not installed (optional; --lora needs it: pip install gs3d[lora])",
    ]


def test_failed_build_is_reported_and_logged(capsys, tmp_path, monkeypatch):
    def build():
        output = "ninja: error\nnvcc fatal: Unsupported gpu architecture"
        message = "gsplat could not be built. The build said:"
        raise UserError(message, output) from RuntimeError("first words\n" + output)

    monkeypatch.setenv("GS3D_CACHE", str(tmp_path))
    monkeypatch.setattr(cpu, "warm_up", lambda: None)
    monkeypatch.setattr(cuda, "build", build)
    monkeypatch.setattr(doctor, "findings", lambda: [doctor.Finding("disk", "enough")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    status, out, err = run(capsys, "doctor", "--build")
    assert status == 1 and err == "" and "enough" in out
    assert "cannot be compiled: nvcc fatal: Unsupported gpu architecture" in out
    assert "ninja: error" not in out
    log = tmp_path / "gsplat-build.log"
    assert str(log) in out and "first words" in log.read_text()
