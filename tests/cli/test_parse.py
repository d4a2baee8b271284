"""Arguments of commands: help texts, old names of options, and usage errors in one line."""

from dataclasses import fields
from importlib import import_module

import pytest

from gs3d.cli import parse
from gs3d.cli.assets import clean
from gs3d.cli.main import COMMANDS
from gs3d.cli.runs import mesh
from gs3d.cli.tools import reference
from gs3d.core.docstrings import field_texts
from tests.cli.commands import one_line_fault, run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_text_for_every_option(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "1000")
    args = import_module(f"gs3d.cli.{COMMANDS[command][0]}.{command}").Args
    texts = field_texts(args)
    status, out, err = run(capsys, command, "--help")
    assert status == 0 and err == "" and "None" not in out
    for field in fields(args):
        assert texts[field.name].endswith(".") and texts[field.name] in out, field.name


def test_help_text_of_a_field_is_its_docstring_without_line_breaks(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    out = run(capsys, "generate", "--help")[1]
    assert "a folder or owner/name of the hub with a model like Stable Diffusion 1.5" in out
    assert (
        "--minutes FLOAT" in out and "--guidance {cds,sds,sdi," in out and "-o PATH, --out" in out
    )
    assert "(default: auto)" in out


@pytest.mark.parametrize(
    "args,old,new",
    [
        (clean.Args, ["in.ply", "--centre"], ["in.ply", "--center"]),
        (clean.Args, ["in.ply", "--no-centre"], ["in.ply", "--no-center"]),
        (mesh.Args, ["run", "--cells", "64"], ["run", "--resolution", "64"]),
        (mesh.Args, ["run", "--cells=64"], ["run", "--resolution=64"]),
        (reference.Args, ["a red mug", "--cells", "64"], ["a red mug", "--resolution", "64"]),
    ],
)
def test_old_names_of_options_are_accepted(args, old, new):
    assert parse.parse(args, "gs3d", old) == parse.parse(args, "gs3d", new)


@pytest.mark.parametrize("command,old", [("clean", "centre"), ("mesh", "cells")])
def test_old_names_of_options_are_not_in_the_help(capsys, command, old):
    assert old not in run(capsys, command, "--help")[1]


def test_short_aliases_are_in_the_help(capsys):
    assert all("-o PATH" in run(capsys, name, "--help")[1] for name in ("clean", "mesh"))


def test_parsed_arguments_are_of_the_class_of_the_command():
    assert type(parse.parse(mesh.Args, "gs3d mesh", ["run"])) is mesh.Args


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
        (
            ["a tree", "--raster", "vqzx"],
            "--raster: expected auto or gsplat or cpu, got 'vqzx'",
        ),
        (["a tree", "--out", ""], "--out: expected a path, got ''"),
        (["a tree", "--start="], "--start: expected a path, got ''"),
        (["a tree", "--resume=yes"], "--resume: expected no value, got 'yes'"),
        ([], "PROMPT: expected text, got nothing"),
        (["--seed", "-3"], "PROMPT: expected text, got nothing"),
        (
            ["a", "red", "tree"],
            "PROMPT: expected one, in quotes if it has spaces, got 'a red tree'",
        ),
    ],
)
def test_usage_errors_of_generate(capsys, arguments, expected):
    message = one_line_fault(capsys, "generate", *arguments)
    assert message == f"gs3d generate: {expected}; see gs3d generate --help\n"


@pytest.mark.parametrize(
    "option,expected,nearest",
    [
        (
            ["--raster", "GSPLAT"],
            "--raster: expected auto or gsplat or cpu, got 'GSPLAT'",
            "gsplat",
        ),
        (
            ["--mode=Mesh"],
            "--mode: expected splats or mesh or two-stage or scene, got 'Mesh'",
            "mesh",
        ),
    ],
)
def test_misspelled_choice_names_the_nearest(capsys, option, expected, nearest):
    message = one_line_fault(capsys, "generate", "a tree", *option)
    hint = f"did you mean {nearest!r}? See gs3d generate --help"
    assert message == f"gs3d generate: {expected}; {hint}\n"


@pytest.mark.parametrize(
    "argv,expected",
    [
        (["render"], "gs3d render: FILE: expected a path, got nothing"),
        (["render", "a.ply", "-o"], "gs3d render: -o: expected a path, got nothing"),
        (["vocab", "all"], "gs3d vocab: arguments: expected none, got 'all'"),
        (["doctor", "--biuld"], "expected --build or another"),
        (["mesh", "run", "--cells", "x"], "--resolution: expected a whole number, got 'x'"),
    ],
)
def test_usage_errors_of_other_commands(capsys, argv, expected):
    assert expected in one_line_fault(capsys, *argv)


def test_usage_error_that_is_not_recognized_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(parse, "usage_faults", lambda args, argv: iter(()))
    message = one_line_fault(capsys, "generate", "a tree", "--minutes", "abc")
    assert message.startswith("gs3d generate: ") and "--minutes" in message and "abc" in message
    assert message.isascii() and message.count("--help") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_description(command):
    package = COMMANDS[command][0]
    assert import_module(f"gs3d.cli.{package}.{command}").Args.__doc__.rstrip().endswith(".")
