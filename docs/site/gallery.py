"""The gallery of the site: the page of each object, and the pictures that lead to them.

mkdocs calls it. The objects and `made.json` are what scripts/make_gallery.py has made.
"""

import gzip
import html
import json
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "docs/gallery"
MARK = "<!-- objects -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of each object."""
    for name, facts in made().items():
        text = object_page(name, facts["title"])
        files.append(File.generated(config, f"gallery/{name}.html", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put the objects into the page of the gallery."""
    if page.file.src_uri != "gallery.md":
        return markdown
    figures = "\n".join(figure(name, facts) for name, facts in made().items())
    return markdown.replace(MARK, f'<div class="gallery">\n{figures}\n</div>')


def made() -> dict[str, dict[str, Any]]:
    """Name -> title, commands, seconds and size of each object that is shown."""
    everything = json.loads((FOLDER / "made.json").read_text("utf-8"))
    return {name: facts for name, facts in everything.items() if "size" in facts}


def object_page(name: str, title: str) -> str:
    """The page of an object, as `gs3d open` writes it."""
    from gs3d.io.html import mesh, splats
    from gs3d.io.html.page import page

    if (spz := FOLDER / f"{name}.spz").exists():
        return page(title, splats.SCRIPTS, spz.read_bytes())
    glb = (FOLDER / f"{name}.glb").read_bytes()
    return page(title, mesh.SCRIPTS, gzip.compress(glb, mtime=0))


def figure(name: str, facts: dict[str, Any]) -> str:
    """A picture that becomes the page of its object when it is pressed; a link without scripts."""
    title = html.escape(facts["title"])
    kind = "splats" if (FOLDER / f"{name}.spz").exists() else "triangles"
    size = f"{facts['size']:,} {kind}" + (f", {s} s" if (s := facts.get("seconds")) else "")
    commands = "\n".join(html.escape(command) for command in facts["commands"])
    if name == "scene":
        text = (FOLDER / "scene.yaml").read_text("utf-8")
        commands += f"\n\n# scene.yaml\n{html.escape(text[text.index('objects:') :].strip())}"
    return (
        f'<figure><a class="object" href="gallery/{name}.html">'
        f'<img src="gallery/{name}.webp" width="360" height="360" loading="lazy" alt="{title}">'
        f"</a><figcaption><b>{title}</b><br>{size}<pre><code>{commands}</code></pre>"
        "</figcaption></figure>"
    )
