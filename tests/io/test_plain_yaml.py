"""YAML of strangers: plain values, and one line about anything else."""

import pytest
import yaml

from gs3d.io.plain_yaml import MOST_CHARACTERS, MOST_DEPTH, MOST_VALUES, load_yaml


def laughs(first: str, levels: int = 9, form: str = "[{}]") -> str:
    """Aliases of nine aliases each, nine levels of them: over 10⁸ values in some 500 characters."""
    lines = [f"a0: &a0 {first}"]
    for i in range(levels):
        lines.append(f"a{i + 1}: &a{i + 1} {form.format(', '.join([f'*a{i}'] * 9))}")
    return "\n".join([*lines, f"gaussians: *a{levels}"])


BOMBS = {
    "aliases": laughs("[lol, lol, lol]"),
    "merge keys": laughs("{x: 1}", form="{{<<: [{}]}}"),
    "aliases that join": laughs("lol", 17),
    "an alias within itself": "a: &a [*a]",
    "deep lists": "[" * 200_000,
    "deep mappings": "{a: " * 100_000,
    "deep blocks": "- " * 100_000 + "a",
    "many values": "- a\n" * (MOST_VALUES + 1),
    "a long text": "a: " + "x" * MOST_CHARACTERS,
    "a long number": "a: " + "9" * 10_000,
}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_one_line(text, fast):
    with pytest.raises(ValueError) as caught:
        load_yaml(text, fast)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch ran]",
        "a: !!python/name:os.system",
        "!!python/object/new:type [x]",
        "!!python/module:os",
        "a: !!bool x",
        "a: 2024-13-01",
        "a: *gone",
        "a: [",
        "\x00",
    ],
)
def test_other_types_and_faults_are_one_line(text, fast, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        load_yaml(text, fast)
    assert not isinstance(caught.value, yaml.YAMLError)
    assert len(str(caught.value).splitlines()) == 1 and not any(tmp_path.iterdir())


@pytest.mark.parametrize("fast", [True, False])
def test_plain_values_and_aliases_are_read(fast):
    text = "a: &x {n: 1, t: [1.5, yes, null, lol]}\nb: *x\nc: {<<: *x, n: 2}\n"
    inner = {"n": 1, "t": [1.5, True, None, "lol"]}
    assert load_yaml(text, fast) == {"a": inner, "b": inner, "c": {**inner, "n": 2}}
    assert load_yaml("", fast) is None
    assert load_yaml("[" * (MOST_DEPTH - 1) + "]" * (MOST_DEPTH - 1), fast)
