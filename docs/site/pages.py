"""Pages of the site that are made from the code: commands, settings, examples. mkdocs calls it."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
COLUMNS = 96


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"commands": commands, "settings": settings, "examples": examples}
    for name, page in pages.items():
        path = f"reference/{name}.md"
        if (stub := files.get_file_from_path(path)) is not None:
            files.remove(stub)  # for readers of the checkout
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to example programs, which are no pages, lead to the page that shows them."""
    return re.sub(r"\]\(\.\./examples/(\w+)\.py\)", r"](reference/examples.md#\1)", markdown)


def commands() -> str:
    """The help of each command."""
    from gs3d.cli.completion import help_of
    from gs3d.cli.main import COMMANDS

    page = ["# Commands\n", "What `gs3d COMMAND --help` prints.\n"]
    for name, (_, description) in COMMANDS.items():
        text = help_of(name, COLUMNS)
        page.append(f"## gs3d {name}\n\n{description[0].upper()}{description[1:]}.\n")
        page.append(f"```text\n{text}\n```\n")
    return "\n".join(page)


def settings() -> str:
    """Every key of a config, with its default."""
    from gs3d.core.cameras import CameraConfig
    from gs3d.distill.settings.stages import RunConfig, StageConfig
    from gs3d.guidance import GUIDANCE
    from gs3d.representations.dmtet.config import DmtetConfig
    from gs3d.representations.gaussians.config import GaussianConfig
    from gs3d.representations.gaussians.densify import DensifyConfig
    from gs3d.representations.nerf.config import NerfConfig

    groups: dict[str, type] = {
        "The run": RunConfig,
        "A stage": StageConfig,
        "cameras": CameraConfig,
        "gaussians": GaussianConfig,
        "densify": DensifyConfig,
        "nerf": NerfConfig,
        "dmtet": DmtetConfig,
    }
    groups |= {f"losses.{name}": kind for name, kind in GUIDANCE.items()}
    page = [
        "# Settings\n",
        "The keys of a `--config` file and of `--set KEY=VALUE`, with the defaults of the code. "
        "A preset changes many of them: `base: NAME` in a file begins from one, and run.yaml of "
        "a run has all that it had. A key may stand at the top of a file, for every stage, or in "
        "one of `stages`.\n",
    ]
    for title, kind in groups.items():
        page.append(f"## {title}\n")
        page.append("| key | default | what it is |\n|---|---|---|")
        page += [f"| {' | '.join(row)} |" for row in _rows(kind, title)]
        page.append("")
    return "\n".join(page)


def _rows(kind: type, title: str) -> Iterator[tuple[str, str, str]]:
    """Key, default and text of each setting of a dataclass, and of those within it."""
    in_sections = {"stages", "guidance", "cameras", "gaussians", "densify", "nerf", "dmtet"}
    at_top = title in ("The run", "A stage")
    for field in dataclasses.fields(kind):
        if not at_top or field.name not in in_sections:
            yield from _row(kind, field, field.name if at_top else f"{title}.{field.name}")


def _row(kind: type, field: dataclasses.Field[Any], key: str) -> Iterator[tuple[str, str, str]]:
    from gs3d.core.docstrings import field_texts
    from gs3d.core.schedules import Ramp, Steps

    value = _value(field)
    if dataclasses.is_dataclass(value) and not isinstance(value, (Ramp, Steps)):
        for inner in dataclasses.fields(value):
            yield from _row(type(value), inner, f"{key}.{inner.name}")
        return
    text = field_texts(kind).get(field.name, "").replace("|", r"\|")
    yield f"`{key}`", _default(value), text


def _value(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _default(value: Any) -> str:
    from gs3d.distill.settings.build import plain

    return "" if value is dataclasses.MISSING else f"`{_short(plain(value))}`"


def _short(value: Any) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def examples() -> str:
    """The programs in examples/."""
    page = ["# Examples\n", "Each is run by the tests.\n"]
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"]]
        page.append(f"## {path.stem} {{ #{path.stem} }}\n\nA notebook, `{path.name}`.\n")
        for cell in cells:
            text = "".join(cell["source"]).strip().removeprefix("# Compare losses").strip()
            is_code = cell["cell_type"] == "code"
            page.append(f"```python\n{text}\n```\n" if is_code else f"{text}\n")
    for path in sorted((ROOT / "examples").glob("*.py")):
        text = path.read_text("utf-8").strip()
        page.append(f"## {path.stem} {{ #{path.stem} }}\n\n```python\n{text}\n```\n")
    return "\n".join(page)
