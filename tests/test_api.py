"""`gs3d.generate`: its help, and arguments that are unknown or of a wrong type."""

import subprocess
import sys
from dataclasses import fields

import pytest

import gs3d
from gs3d.runs.request import Request


def test_help_lists_every_argument_with_its_text():
    text = gs3d.generate.__doc__
    arguments, raises = text[text.index("\nArgs:\n") :].split("\nRaises:\n")
    for name in [*(field.name for field in fields(Request)), "callbacks"]:
        assert f"\n    {name}: " in arguments
    assert "\n    minutes: Wall-clock minutes until all files are written." in arguments
    assert "UserError" in raises and max(map(len, text.splitlines())) <= 96


def test_import_does_not_import_torch():
    code = "import sys, gs3d; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "args,kwargs,message",
    [
        (
            ("a cat",),
            {"minuts": 3},
            "generate() got an unexpected keyword argument 'minuts'; did you mean 'minutes'?",
        ),
        (("a cat",), {"qqqq": 3}, "generate() got an unexpected keyword argument 'qqqq'"),
        ((), {}, "generate(): missing a required argument: 'prompt'"),
        (("a cat", 1, 2), {}, "generate(): too many positional arguments"),
    ],
)
def test_wrong_call_is_a_type_error_of_generate(args, kwargs, message):
    with pytest.raises(TypeError) as caught:
        gs3d.generate(*args, **kwargs)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "wrong,message",
    [
        ({"prompt": 3}, "prompt: expected text, got int"),
        (
            {"config": {"batch": 4}},
            "config: expected a preset or a YAML file (for single settings ",
        ),
        ({"prior": {"name": "sd15"}}, "an object like gs3d.Prior, got dict"),
        ({"prior": Request}, "an object like gs3d.Prior, got the class Request; create an object"),
        ({"out": 3}, "out: expected a folder, got int"),
        ({"out": ""}, "out: expected a folder, got an empty text; leave it out"),
        ({"start": gs3d}, "a splat file, a mesh, builtin, or shap-e, got module"),
        ({"set": {"batch": 4}}, "such as gaussians.count=5000, got dict"),
        ({"set": 4}, "such as gaussians.count=5000, got int"),
        ({"set": [4]}, "such as gaussians.count=5000, got 4"),
        ({"guidance": {"cds": 1}}, "gs3d.guidance describes, got dict"),
        ({"device": 0}, "device: expected auto, cpu, cuda, cuda:N, mps or xpu, got int"),
        ({"mode": "splat"}, "mode splat: expected splats or mesh or two-stage"),
        ({"raster": "cuda"}, "raster cuda: expected auto or gsplat or cpu"),
        (
            {"raster": "gsplat", "device": "cpu"},
            "raster gsplat: needs CUDA, and the prior is on cpu",
        ),
        ({"mode": 3}, "mode 3: expected splats or mesh or two-stage"),
        ({"guidance": "sd"}, "expected one of cds, sds"),
        (
            {"callbacks": print},
            "callbacks: expected gs3d.Callbacks, got builtin_function_or_method",
        ),
    ],
)
def test_argument_of_a_wrong_type_is_named_in_one_line(wrong, message, tmp_path):
    options = {"prompt": "a cat", "prior": "builtin", "out": tmp_path / "run"} | wrong
    with pytest.raises(gs3d.UserError) as caught:
        gs3d.generate(**options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_load_of_something_else_than_a_path():
    with pytest.raises(gs3d.UserError, match="load: expected a file or a folder, got int"):
        gs3d.load(3)
