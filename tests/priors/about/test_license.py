"""The license of a model: from its README.md, or by its hub id."""

import pytest

from gs3d.priors.about.license import BY_ID, License, license_line, license_of
from gs3d.priors.loading.resolve import MIRRORS, describe, load, resolve
from tests.conftest import write_tiny_sd
from tests.priors.cache import put_in_cache

REPO = "someone/model"


def written(folder, *lines: str):
    (folder / "README.md").write_text("\n".join(["---", *lines, "---", "# A model", ""]))
    return folder


@pytest.mark.parametrize(
    "lines, name, link",
    [
        (["license: openrail++"], "openrail++", f"https://huggingface.co/{REPO}"),
        (
            ["license: other", "license_name: own", "license_link: LICENSE.md"],
            "own",
            f"https://huggingface.co/{REPO}/blob/main/LICENSE.md",
        ),
        (
            ["license: other", "license_name: own", "license_link: >-", "  https://example.org/l"],
            "own",
            "https://example.org/l",
        ),
        (["license: mit", "license_link: a b <c>"], "mit", f"https://huggingface.co/{REPO}"),
    ],
)
def test_front_matter(tmp_path, lines, name, link):
    assert license_of(written(tmp_path, *lines), REPO) == License(name, link)


def test_link_to_a_file_of_a_folder_without_hub_id_is_none(tmp_path):
    folder = written(tmp_path, "license: other", "license_link: LICENSE.md")
    assert license_of(folder) == License("other", None)


@pytest.mark.parametrize(
    "text", ["", "no front matter", "---\n[: :\n---\n", "---\n- mit\n---\n", "---\nlicense:\n---\n"]
)
def test_readme_without_a_license_is_unknown(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    assert license_of(tmp_path, REPO) is None
    known = license_of(tmp_path, "openai/shap-e")
    assert known == License("mit", "https://huggingface.co/openai/shap-e")


def test_readme_comes_before_the_table(tmp_path):
    found = license_of(written(tmp_path, "license: mit"), "black-forest-labs/FLUX.1-dev")
    assert found is not None and found.name == "mit"


def test_every_mirror_is_in_the_table():
    known = {repo for repos in MIRRORS.values() for repo in repos}
    # A copy by someone else, whose card nobody has looked at.
    assert known - BY_ID.keys() == {"Manojb/stable-diffusion-2-1-base"}


@pytest.mark.parametrize(
    "name, words",
    [
        ("flux-1-dev-non-commercial-license", "allows no commercial use"),
        ("sai-nc-community", "allows no commercial use"),
        ("stabilityai-nc-research-community", "allows no commercial use"),
        ("cc-by-nc-4.0", "allows no commercial use"),
        ("stabilityai-ai-community", "only below 1 million US dollars of yearly revenue"),
        ("deepfloyd-if-license", "for research alone"),
        ("openrail++", None),
        ("apache-2.0", None),
        ("mit", None),
        ("license-since-2024", None),
    ],
)
def test_restrictions_on_commercial_use(name, words):
    line = license_line(License(name), REPO)
    assert line.startswith(f"license of {REPO}: {name}")
    assert line.endswith(f"; see https://huggingface.co/{REPO}")
    assert (words in line) if words else (License(name).limit is None)


def test_license_in_run_yaml(hub_cache, tmp_path):
    folder = write_tiny_sd(tmp_path / "model")
    (folder / "README.md").unlink()
    assert describe(load(folder, "cpu"))["license"] is None
    put_in_cache(hub_cache, MIRRORS["sd21"][0], folder)
    assert resolve("sd21").repo == MIRRORS["sd21"][0]
    assert describe(load("sd21", "cpu"))["license"] == "openrail++"
