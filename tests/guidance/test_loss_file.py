"""Losses in files of the user's own: what is loaded, and one line about each fault."""

import sys
from dataclasses import FrozenInstanceError

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.distill.settings.build import own_loss
from gs3d.guidance import GUIDANCE, losses_with, name_of
from gs3d.guidance.loss_file import fault_in, file_of, is_loss_file, load_loss_file
from tests.guidance.analytic import Mixture, condition

HEAD = """from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
import gs3d

"""
CALL = """
    def __call__(self, prior, condition, z0, progress, seed, step):
        return gs3d.GuidanceOut(self.scale * z0.detach(), z0.detach(), {"t": progress})
"""
MINE = f"""{HEAD}@dataclass(frozen=True)
class Mine:
    scale: float = 2.0
    kind: Literal["a", "b"] = "a"
{CALL}"""
PRIOR = Mixture(torch.zeros(1, 3, 2, 2), 0.2)


@pytest.fixture
def write(tmp_path):
    """Write a file of a loss: its path as text."""

    def write(text: str | bytes, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def fault(text: str) -> str:
    with pytest.raises(UserError) as caught:
        own_loss(text)
    message = caught.value.for_command_line
    assert message.startswith(f"--guidance {text}: ") and "\n" not in message
    return message.removeprefix(f"--guidance {text}: ")


def test_loss_of_a_file_is_called_and_named(write):
    loss = own_loss(f"{write(MINE)}:Mine")
    out = loss.kind(scale=3.0)(PRIOR, condition(4), torch.ones(4, 3, 2, 2), 0.5, 0, 0)
    assert torch.equal(out.grad, torch.full((4, 3, 2, 2), 3.0))
    made = loss.kind()
    assert name_of(made) == "Mine" and file_of(made) == loss
    assert losses_with(loss) == {**GUIDANCE, "Mine": loss.kind} and "Mine" not in GUIDANCE
    with pytest.raises(FrozenInstanceError):
        made.scale = 1.0
    assert file_of(GUIDANCE["cds"]()) is None and losses_with("cds") is GUIDANCE


def test_subclass_of_a_loss_of_gs3d(write):
    text = "from dataclasses import dataclass\nfrom gs3d.guidance.losses.sds import Sds\n"
    text += "@dataclass(frozen=True)\nclass Mine(Sds):\n    more: int | None = None\n"
    made = own_loss(f"{write(text)}:Mine").kind(weight="sigma2")
    out = made(PRIOR, condition(4), torch.ones(4, 3, 2, 2), 0.5, 0, 0)
    assert out.grad.shape == (4, 3, 2, 2) and name_of(made) == "Mine"


def test_file_is_run_once_and_again_after_a_change(write):
    path = write(MINE)
    first = own_loss(f"{path}:Mine")
    assert own_loss(f"{path}:Mine") == first and own_loss(f"{path}:Mine").kind is first.kind
    write(MINE.replace("2.0", "5.0"))
    second = own_loss(f"{path}:Mine")
    assert (first.kind().scale, second.kind().scale) == (2.0, 5.0)
    assert first.sha256 != second.sha256 and first.code_sha256 != second.code_sha256
    write(MINE.replace("class Mine:", 'class Mine:\n    """Words."""  # and more'))
    third = own_loss(f"{path}:Mine")
    assert third.sha256 != first.sha256 and third.code_sha256 == first.code_sha256


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a.py:B", True),
        ("some/where/a.py:B", True),
        ("C:\\a.py:B", True),
        ("a.py", False),
        ("a.py:", False),
        ("a.py:b c", False),
        ("a.pyc:B", False),
        ("a.py:B:C", False),
        ("a:B", False),
        ("cds", False),
        ("os.system", False),
        (None, False),
        (3, False),
    ],
)
def test_only_a_name_that_ends_in_a_class_of_a_file_is_one(text, expected):
    assert is_loss_file(text) is expected
    if not expected and isinstance(text, str):
        with pytest.raises(UserError, match="expected FILE.py:CLASS"):
            load_loss_file(text)


CLASS = f"{HEAD}@dataclass(frozen=True)\nclass Mine:\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("x = (\n", "mine.py line 1: expected Python, got '(' was never closed"),
        ("a = 1\nb = = 2\n", "mine.py line 2: expected Python, got invalid syntax"),
        (b"\0", "expected Python, got "),
        (b"x = '\xff'\n", "expected Python, got "),
        (
            "a = 1\nimport no_such_module\n",
            "mine.py line 2: expected a file that can be imported, ",
        ),
        ("def f():\n    return 1 / 0\nf()\n", "mine.py line 2: expected a file that can be impor"),
        ("import sys\nsys.exit(3)\n", "line 2: expected a file that can be imported, got SystemEx"),
        ("", "expected a class Mine in "),
        (MINE.replace("class Mine", "class Mime"), "which has none; did you mean 'Mime'?"),
        (MINE.replace("class Mine", "class mine"), "which has none; did you mean 'mine'?"),
        (MINE.replace("class Mine", "class Other"), "which has none; it defines Other"),
        ("def Mine(): pass\n", "got the function Mine"),
        ("Mine = 3\n", "got a value of type int"),
        ("from gs3d.guidance import Cds as Mine\n", "got Cds of gs3d.guidance.losses.cds; a subcl"),
        (MINE.replace("class Mine", "class A") + "Mine = A\n", "Mine is another name of A"),
        (
            "class Mine:\n    scale = 1\n",
            "mine.py line 1: class Mine: expected a frozen dataclass, ",
        ),
        (
            MINE.replace("frozen=True", ""),
            "a dataclass that is not frozen; write @dataclass(frozen",
        ),
        (MINE.replace("@dataclass(frozen=True)\n", ""), "got a plain class; write @dataclass"),
        (MINE.replace(" = 2.0", ""), "mine.py line 8: Mine.scale: expected a default"),
        (
            CLASS + "    scale: Nowhere = 1\n" + CALL,
            "name 'Nowhere' is not defined; expected Mine()",
        ),
        (
            CLASS + "    scale: list = None\n" + CALL,
            "class Mine: scale: a setting cannot have the ",
        ),
        (
            CLASS + "    scale: float = None\n" + CALL,
            "class Mine: scale: expected a number, got None",
        ),
        (
            CLASS + "    scale: float = 2.0\n",
            "class Mine: expected __call__(self, prior, condition, ",
        ),
        (MINE.replace(", seed, step", ""), "mine.py line 11: class Mine: expected __call__(self, "),
        (MINE.replace("seed, step", "*, seed, step"), "got another: too many positional arguments"),
        (
            MINE + "    def __post_init__(self):\n        raise KeyError('no')\n",
            "mine.py line 14: KeyError: 'no'; expected Mine() to work",
        ),
    ],
)
def test_faults_of_a_file_are_one_line_that_names_it(write, text, expected):
    before = set(sys.modules)
    path = write(text)
    assert expected in fault(f"{path}:Mine")
    if "expected a file that can be imported" in expected:
        assert not [name for name in set(sys.modules) - before if "loss_file" in name]


def test_files_that_cannot_be_read(tmp_path):
    assert "none.py cannot be read (No such file" in fault(f"{tmp_path}/none.py:Mine")
    (tmp_path / "folder.py").mkdir()
    assert "folder.py cannot be read (Is a directory)" in fault(f"{tmp_path}/folder.py:Mine")
    assert "cannot be read (" in fault(f"{'x' * 5000}.py:Mine")


def test_name_of_a_loss_of_gs3d_is_refused(write):
    path = write(MINE.replace("class Mine", "class cds"))
    assert "gs3d has a loss cds; give the class another name" in fault(f"{path}:cds")


def test_abstract_class_is_refused(write):
    text = "from dataclasses import dataclass\n"
    text += "from gs3d.guidance.distillation import Distillation\n"
    text += "@dataclass(frozen=True)\nclass Mine(Distillation):\n    pass\n"
    message = fault(f"{write(text)}:Mine")
    assert "mine.py line 4: TypeError: " in message and "gradient" in message


def test_exception_names_the_line_of_the_file(write):
    text = MINE.replace("gs3d.GuidanceOut(self.scale * z0", "gs3d.GuidanceOut(torch.zeros(3) * z0")
    path = write(text.replace("import gs3d\n", "import gs3d, torch\n"))
    made = own_loss(f"{path}:Mine").kind()
    with pytest.raises(RuntimeError) as caught:
        made(PRIOR, condition(4), torch.ones(4, 3, 2, 2), 0.5, 0, 0)
    assert fault_in(caught.value).startswith(f"{path} line 12: RuntimeError: The size of tensor a")
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError
    assert fault_in(caught.value) is None
