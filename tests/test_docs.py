"""The pages of the site that are made from the code, and links in files outside it.

`make docs` builds the whole site and checks its links and anchors.
"""

import importlib.util
import re

import pytest

import gs3d
from gs3d.cli.main import COMMANDS
from gs3d.guidance import GUIDANCE
from tests.programs import ROOT


@pytest.fixture(scope="module")
def pages():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs/site/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_shows_its_options(pages):
    sections = re.split(r"^## gs3d ", pages.commands(), flags=re.M)[1:]
    assert [section.split()[0] for section in sections] == list(COMMANDS)
    assert all("usage: gs3d" in section and "\x1b" not in section for section in sections)
    assert "--minutes" in sections[0]


def test_every_setting_has_a_row_with_its_default(pages):
    page = pages.settings()
    assert "| `perp_neg` | `0.0` |" in page and "| `blend_views` | `false` |" in page
    assert "| `gaussians.count` |" in page and "| `batch` | `4` |" in page
    assert all(f"| `losses.{name}.t` | `{{start: " in page for name in GUIDANCE)
    # Every row says what the setting is, and has three cells.
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    empty = [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != 5 or row.endswith("|  |")]
    assert len(rows) > 150 and not empty


def test_links_to_examples_lead_to_their_page(pages):
    text = "[a](../examples/own_loss.py) and [b](files.md)"
    changed = pages.on_page_markdown(text)
    assert changed == "[a](reference/examples.md#own_loss) and [b](files.md)"
    assert "{ #own_loss }" in pages.examples()


@pytest.mark.parametrize("name", [path.name for path in ROOT.glob("*.md")])
def test_links_of_files_beside_the_docs_lead_somewhere(name):
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        assert not path or (ROOT / path).exists(), target
        if anchor:
            assert anchor in anchors((ROOT / path) if path else ROOT / name), target


def anchors(path) -> set[str]:
    """Anchors of the headings of a Markdown file, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_readme_is_short_and_narrow():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert not [line for line in lines if len(line) > (160 if line.startswith("|") else 100)]


@pytest.mark.parametrize(
    ("page", "name"), [("README.md", "MySds"), ("docs/evaluate.md", "PlainSds")]
)
def test_loss_of_a_page_runs(page, name, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.S)
    (loss,) = [block for block in blocks if f"class {name}" in block]
    (tmp_path / "my.py").write_text(loss)
    scene = gs3d.generate(
        "a blue chair",
        steps=2,
        prior="builtin",
        guidance=f"{tmp_path / 'my.py'}:{name}",
        out=tmp_path / "run",
        device="cpu",
    )
    assert scene.outcome == "finished"
