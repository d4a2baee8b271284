"""Blocks of the docs with `<!-- run -->` above them work as they stand, only with fewer iterations.

Blocks of a page are run in their order, in one folder.
"""

import re
import shlex
from pathlib import Path

import pytest

from gs3d.cli.main import main
from gs3d.runs.outputs import files
from tests.programs import ROOT
from tests.small import SMALL

BLOCK = re.compile(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
STEPS = ("--steps", "4")
INPUTS = {
    "prompts.txt": "a red mushroom\n# not this one\na blue chair\n",
    "rows.csv": "prompt,name,seed\na red mushroom,first,3\n",
    "rows.jsonl": '{"prompt": "a red mushroom", "seed": 4}\n',
}
"""Files of one's own that the commands take."""
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if "<!-- run -->" in path.read_text("utf-8")
)


def shortened(words: list[str]) -> list[str]:
    """The arguments of a command with four iterations in place of its minutes."""
    if "--minutes" in words:
        at = words.index("--minutes")
        words = [*words[:at], *STEPS, *words[at + 2 :]]
    elif words[0] == "generate":
        words = [*words, *STEPS]
    return words


def commands(text: str) -> list[list[str]]:
    """The arguments of each `gs3d` command of a block. `make check-wheel` tries pip install."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    assert all(line[:2] == ["pip", "install"] or line[0] == "gs3d" for line in lines if line)
    return [shortened(line[1:]) for line in lines if line and line[0] == "gs3d"]


def test_pages_have_blocks_to_run():
    assert {"README.md", "docs/index.md", "docs/batch.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_work(page, tmp_path, monkeypatch, capsys):
    for name, value in SMALL.items():
        monkeypatch.setattr(files, name, value)
    blocks = BLOCK.findall((ROOT / page).read_text("utf-8"))
    for name, text in INPUTS.items():
        Path(tmp_path, name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    for mark, language, text in blocks:
        if not mark:
            continue
        if language == "python":
            exec(compile(re.sub(r"minutes=\d+", "steps=4", text), page, "exec"), {})
            continue
        for words in commands(text):
            status = main(words)
            assert status == 0, (words, capsys.readouterr().err)
