"""`gs3d generate`: invalid arguments, output and signals."""

import errno
import os
import signal
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.cli.commands import one_line_fault, run

STEP = ("--steps", "1")


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["", *STEP], "prompt: it is empty"),
        (["   \t ", *STEP], "prompt: it is empty"),
        (["a " * 5000, *STEP], "expected at most 1000 characters, got 9999"),
        (["a red\x07 tree", *STEP], "control character U+0007"),
        (["a tree", "--minutes", "0"], "--minutes: expected a number above 0, got 0"),
        (["a tree", "--minutes", "-3"], "--minutes: expected a number above 0"),
        (["a tree", "--minutes", "nan"], "--minutes: expected a number above 0, got nan"),
        (["a tree", "--minutes", "inf"], "--minutes: expected a number above 0, got inf"),
        (["a tree", "--steps", "0"], "--steps: expected a whole number, 1 or more, got 0"),
        (["a tree", *STEP, "--minutes", "1"], "--minutes or --steps, not both"),
    ],
)
def test_invalid_arguments(capsys, tiny, tmp_path, arguments, expected):
    assert expected in one_line_fault(capsys, "generate", *arguments, *tiny)
    assert not (tmp_path / "run" / "run.yaml").exists()


def test_unknown_prior_names_the_nearest(capsys, tmp_path):
    options = ["--prior", "bultin", "--out", str(tmp_path / "run")]
    message = one_line_fault(capsys, "generate", "a tree", *STEP, *options)
    assert "prior bultin: unknown name; did you mean builtin" in message


def test_missing_weights_without_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = ["--prior", "sd21-base", "--out", str(tmp_path / "run")]
    message = one_line_fault(capsys, "generate", "a tree", *STEP, *options)
    assert "prior sd21-base: not in the cache" in message and "--prior builtin" in message


def test_out_is_a_file(capsys, tiny, tmp_path):
    (tmp_path / "run").write_text("keep")
    message = one_line_fault(capsys, "generate", "a tree", *STEP, *tiny)
    assert "is a file; expected a folder" in message
    assert (tmp_path / "run").read_text() == "keep"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_out_is_read_only(capsys, tiny, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    message = one_line_fault(capsys, "generate", "a tree", *STEP, *tiny)
    assert "cannot be written (Permission denied)" in message


def test_full_disk_before_the_run(capsys, tiny, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    message = one_line_fault(capsys, "generate", "a tree", *STEP, *tiny)
    assert "cannot be written (No space left on device)" in message


def test_unknown_words_are_reported_with_the_nearest_known_word(capsys, tiny):
    status, out, _ = run(capsys, "generate", "a rad mushrom", *STEP, *tiny)
    assert status == 0
    assert "warning" in out and "rad" in out and "red" in out and "mushroom" in out
    assert "names no kind of object that the prior" in out


def test_known_kind_gives_no_warning(capsys, tiny):
    _, out, _ = run(capsys, "generate", "a red mushroom", *STEP, *tiny)
    assert "names no kind" not in out


def test_output_ends_with_the_files(capsys, tiny, tmp_path):
    status, out, _ = run(capsys, "generate", "a red mushroom", "--steps", "2", *tiny)
    images = ("preview.png", "turntable.mp4", "progress.png", "log.png")
    assert status == 0
    for name in ("splats.ply", *images, "run.yaml", "log.jsonl"):
        assert str(tmp_path / "run" / name) in out


@pytest.mark.parametrize(
    "number,status,word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signal_exports_the_current_splats_and_has_its_own_status(
    capsys, tiny, tmp_path, number, status, word
):
    folder, ended = tmp_path / "run", threading.Event()

    def send_after_first_step():
        log = folder / "log.jsonl"
        while not ended.wait(0.05):
            # Only now does a signal no longer end the process.
            if log.exists() and log.stat().st_size:
                os.kill(os.getpid(), number)
                return

    sender = threading.Thread(target=send_after_first_step)
    sender.start()
    try:
        got, out, err = run(capsys, "generate", "a red mushroom", "--steps", "100000", *tiny)
    finally:
        ended.set()
        sender.join()
    assert got == status and "Traceback" not in err, err
    assert word in out and "--resume" in out
    for name in ("splats.ply", "preview.png", "turntable.mp4"):
        assert (folder / name).stat().st_size > 0
