"""`gs3d generate --guidance FILE.py:CLASS`: the example, and faults in one line."""

import pytest
import yaml

from tests.cli.commands import one_line_fault, run
from tests.guidance.test_loss_file import MINE
from tests.programs import ROOT


@pytest.fixture
def generate(tiny, tmp_path):
    """The command with a loss of a file. Its last option names the loss."""
    (tmp_path / "mine.py").write_text(MINE)
    options = [*tiny, "--set", "densify.rounds=1"]
    return ["generate", "a red duck", "--steps", "2", *options, "--guidance"]


def test_example_runs_from_its_file(capsys, generate, tmp_path):
    loss = f"{ROOT}/examples/own_loss.py:NormalizedSds"
    status, _, err = run(capsys, *generate, loss, "--set", "losses.NormalizedSds.scale=9")
    assert status == 0, err
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["config"]["losses"] == {"NormalizedSds": {"scale": 9.0}}
    assert record["guidance_file"]["file"] == f"{ROOT}/examples/own_loss.py"


def test_exception_in_the_loss_is_one_line_that_names_the_line(capsys, generate, tmp_path):
    text = MINE.replace("self.scale *", "self.scal *")
    (tmp_path / "mine.py").write_text(text)
    message = one_line_fault(capsys, *generate, f"{tmp_path}/mine.py:Mine")
    assert f"--guidance {tmp_path}/mine.py:Mine: {tmp_path}/mine.py line 12: Attrib" in message
    assert "'Mine' object has no attribute 'scal'" in message


def test_loss_that_is_always_nan_is_said_to_be_at_fault(capsys, generate, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("self.scale *", "float('nan') *"))
    loss = f"{tmp_path}/mine.py:Mine"
    status, out, _ = run(capsys, *generate, loss, "--steps", "30")
    assert status == 1
    assert "stopped: all 20 iterations gave NaN or Inf; what the run began with was exp" in out
    assert f"Look at the grad that {loss} returns." in out


@pytest.mark.parametrize(
    "name, expected",
    [
        ("cdss", "--guidance cdss: expected one of cds, sds"),
        ("cdss", "; did you mean 'cds'?"),
        ("SDS", "; did you mean 'sds'?"),
        ("nothing", ", or FILE.py:CLASS"),
        ("mine.py", "--guidance mine.py: expected FILE.py:CLASS, such as mine.py:Mine"),
        ("mine.py:", "--guidance mine.py:: expected FILE.py:CLASS, such as mine.py:Mine"),
        ("none.py", "--guidance none.py: expected FILE.py:CLASS, or one of cds, sds"),
        ("mine.py:Mime", "expected a class Mime in "),
    ],
)
def test_other_names_are_refused(capsys, generate, tmp_path, monkeypatch, name, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_fault(capsys, *generate, name)
    assert not (tmp_path / "run").exists()


def test_help_names_the_losses_and_files(capsys):
    out = run(capsys, "generate", "--help")[1]
    assert "--guidance {cds,sds," in out and "FILE.py:CLASS}" in out


RETURNS_A_TENSOR = """
from dataclasses import dataclass
from gs3d.guidance.distillation import Distillation

@dataclass(frozen=True)
class Mine(Distillation):
    def gradient(self, inputs):
        return inputs.z0 - inputs.noise
"""


def test_gradient_that_returns_a_tensor_is_one_line_that_names_the_line(capsys, generate, tmp_path):
    (tmp_path / "mine.py").write_text(RETURNS_A_TENSOR)
    message = one_line_fault(capsys, *generate, f"{tmp_path}/mine.py:Mine")
    where = f"Mine ({tmp_path}/mine.py line 7) returned a tensor [4, 3, "
    assert where in message and "expected a gs3d.GuidanceOut with grad [4, 3, " in message
