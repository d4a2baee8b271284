"""The source of gs3d holds no call by which data could run as code, but those listed with a reason.

What counts is in the syntax tree: comments, texts and other names do not matter.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("gs3d", "scripts", "benchmarks", "examples")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MODULES = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
MODULES += ("telnetlib", "ftplib", "runpy", "code", "xmlrpc")
"""Modules that run code of a file, or send in the clear."""
CALLS = {
    "eval": "runs a text",
    "exec": "runs a text",
    "compile": "makes code of a text",
    "__import__": "imports by a text",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "asyncio.create_subprocess_shell": "runs a shell",
    "tempfile.mktemp": "names a file that another program may make first",
    "yaml.unsafe_load": "builds any object",
    "yaml.full_load": "builds some objects",
    "yaml.load_all": "may build any object",
    "pandas.read_pickle": "unpickles",
    "torch.hub.load": "runs code of a download",
    "torch.jit.load": "runs code of a file",
    "ssl._create_unverified_context": "trusts any server",
}
SAFE_LOADERS = ("SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader")
ALLOWED = {
    ("gs3d/guidance/loss_file.py", "exec"): "a loss file that the user names on the command line",
    ("gs3d/guidance/loss_file.py", "compile"): "the same",
    ("gs3d/io/plain_yaml.py", "yaml.load"): "the loader is one of two safe ones, chosen above it",
    ("benchmarks/uploads.py", "http://"): "a server that it starts on this machine",
    ("gs3d/viewer/server.py", "http://"): "the address of this machine for its own browser; with "
    "another address the help says that the connection is not encrypted",
}
"""File and what it uses → why it may."""


def names(tree: ast.AST) -> dict[str, str]:
    """Local name → full name, of what a file imports."""
    found = {"np": "numpy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def full_name(node: ast.expr, known: dict[str, str]) -> str:
    """The dotted name of what is called, with imports resolved; "" for anything else."""
    if isinstance(node, ast.Attribute):
        of = full_name(node.value, known)
        return f"{of}.{node.attr}" if of else ""
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def findings(source: str) -> Iterator[tuple[int, str]]:
    """Line, and what it uses, of everything dangerous in a file."""
    tree = ast.parse(source)
    known = names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((node.lineno, m) for m in modules if m.split(".")[0] in MODULES)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "http://" in node.value:
                yield node.lineno, "http://"
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _of_call(node, full_name(node.func, known)))


def _of_call(node: ast.Call, name: str) -> Iterator[str]:
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in CALLS:
        yield name
    if name == "torch.load" and not is_constant(options.get("weights_only"), True):
        yield "torch.load"
    if name == "numpy.load" and not is_constant(
        options.get("allow_pickle", ast.Constant(False)), False
    ):
        yield "numpy.load"
    if name == "yaml.load":
        loader = options.get("Loader") or (node.args[1] if len(node.args) > 1 else None)
        if not (isinstance(loader, ast.Attribute) and loader.attr in SAFE_LOADERS):
            yield "yaml.load"
    if not is_constant(options.get("trust_remote_code", ast.Constant(False)), False):
        yield "trust_remote_code"
    if not is_constant(options.get("shell", ast.Constant(False)), False):
        yield "shell"
    if is_constant(options.get("verify"), False):
        yield "verify=False"
    if not is_constant(options.get("use_safetensors", ast.Constant(True)), True):
        yield "use_safetensors"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_call_runs_data(path):
    place = path.relative_to(ROOT).as_posix()
    found = [(line, what) for line, what in findings(path.read_text("utf-8"))]
    bad = [f"line {line}: {what}" for line, what in found if (place, what) not in ALLOWED]
    assert not bad, f"{place}: {'; '.join(bad)}"


def test_every_exception_is_still_used():
    used = {
        (path.relative_to(ROOT).as_posix(), what)
        for path in FILES
        for _, what in findings(path.read_text("utf-8"))
    }
    assert set(ALLOWED) <= used


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import torch\ntorch.load(f)", "torch.load"),
        ("import torch as t\nt.load(f, weights_only=False)", "torch.load"),
        ("from torch import load as read\nread(f, weights_only=flag)", "torch.load"),
        ("def f():\n    import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", "numpy.load"),
        ("import yaml\nyaml.load(t, yaml.Loader)", "yaml.load"),
        ("import yaml\nyaml.load(t, Loader=loader)", "yaml.load"),
        ("import yaml\nyaml.unsafe_load(t)", "yaml.unsafe_load"),
        ("Model.from_pretrained(f, trust_remote_code=True)", "trust_remote_code"),
        ("Model.from_pretrained(f, trust_remote_code=flag)", "trust_remote_code"),
        ("Model.from_pretrained(f, use_safetensors=False)", "use_safetensors"),
        ("import subprocess as s\ns.run(c, shell=True)", "shell"),
        ("from os import system as go\ngo(c)", "os.system"),
        ("import tempfile\ntempfile.mktemp()", "tempfile.mktemp"),
        ("eval(text)", "eval"),
        ("urlopen('http://example.com/' + name)", "http://"),
        ("urlopen(f'http://{host}/')", "http://"),
    ],
)
def test_the_search_finds(source, what):
    assert what in [found for _, found in findings(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import numpy as np\nnp.load(f, mmap_mode='r')",
        "import yaml\nyaml.load(t, yaml.BaseLoader)",
        "model.eval()",
        "# eval(text), os.system\n'''torch.load(f)'''",
        "import re\nre.compile(text)",
        "from gs3d.io import load\nload(f)",
    ],
)
def test_the_search_finds_nothing_in(source):
    assert not list(findings(source))
