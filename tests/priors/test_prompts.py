"""Prompt checks, direction words, vocabularies and text lengths."""

import math

import pytest
import torch

from gs3d.core.cameras import orbit
from gs3d.core.errors import UserError
from gs3d.core.views.words import EXACT_VIEWS, VIEW_WORDS, wrong_view_weights
from gs3d.priors import builtin, load, prompts
from gs3d.priors.prompts import (
    ViewPrompts,
    check_prompt,
    knows_views,
    unknown_words,
    vocabulary,
)
from gs3d.priors.text.limits import shortened
from gs3d.world import captions

PROMPT = "a red mushroom with white spots"


def cameras(azimuth_deg, elevation_deg=15.0):
    azimuth = torch.tensor([math.radians(a) for a in azimuth_deg])
    return orbit(
        azimuth,
        torch.full_like(azimuth, math.radians(elevation_deg)),
        torch.full_like(azimuth, 3.0),
        torch.ones_like(azimuth),
        8,
        8,
    )


def test_rough_view_words(tiny_sd):
    views = ViewPrompts.of(tiny_sd, "a car")
    assert views.warnings == () and views.prompt == "a car" and views.views == VIEW_WORDS
    condition = views.at(cameras([0, 44, 46, 90, 134, 136, 180, -90, -140, -30]))
    expected = ["front", "front", "side", "side", "side", "back", "back", "side", "back", "front"]
    torch.testing.assert_close(
        condition.text, tiny_sd.embed([f"a car, {word} view" for word in expected])
    )
    torch.testing.assert_close(condition.negative[7], tiny_sd.embed([prompts.NEGATIVE])[0])
    torch.testing.assert_close(
        views.at(cameras([0, 170], 75)).text, tiny_sd.embed(["a car, overhead view"] * 2)
    )


def test_blended_views(tiny_sd):
    views = ViewPrompts.of(tiny_sd, "a car", blend=True)
    front, side, _, overhead = tiny_sd.embed([f"a car, {word} view" for word in VIEW_WORDS])
    level, high = views.at(cameras([30.0])).text[0], views.at(cameras([0.0], 60)).text[0]
    torch.testing.assert_close(level, (2 * front + side) / 3)
    torch.testing.assert_close(high, (front + overhead) / 2)


def test_exact_directions_are_not_blended(tiny_builtin):
    blended = ViewPrompts.of(tiny_builtin, PROMPT, blend=True).at(cameras([40.0]))
    nearest = ViewPrompts.of(tiny_builtin, PROMPT).at(cameras([40.0]))
    torch.testing.assert_close(blended.text, nearest.text)


@pytest.mark.parametrize("prior", ["tiny_sd", "tiny_builtin"])
def test_perp_neg_knows_the_front_and_the_side(prior, request):
    prior = request.getfixturevalue(prior)
    views = ViewPrompts.of(prior, "a red car", perp_neg=2.0).at(cameras([0, 60, 180]))
    for found, word in zip(views.wrong, ("front", "side"), strict=True):
        expected = prior.embed([f"a red car, {word} view"]).expand(3, -1, -1)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(views.wrong_weights, 2 * wrong_view_weights(cameras([0, 60, 180])).T)
    assert ViewPrompts.of(prior, "a red car").at(cameras([0])).wrong is None


def test_perp_neg_is_refused_for_a_multi_view_prior(tiny_multiview_folder):
    prior = load(tiny_multiview_folder, "cpu")
    with pytest.raises(UserError, match="perp_neg: .* 4 views together"):
        ViewPrompts.of(prior, PROMPT, perp_neg=1.0)


def test_exact_view_words(tiny_builtin):
    views = ViewPrompts.of(tiny_builtin, PROMPT)
    assert views.warnings == () and views.prompt == PROMPT
    condition = views.at(cameras([0, 44, 90, -100, 180], 0))
    expected = [
        f"{d} level"
        for d in ("front", "45 degrees left", "90 degrees left", "105 degrees right", "back")
    ]
    assert condition.text.shape == condition.negative.shape == (5, builtin.MAX_TOKENS, 96)
    torch.testing.assert_close(
        condition.text, tiny_builtin.embed([f"{PROMPT}, {view} view" for view in expected])
    )
    torch.testing.assert_close(condition.negative[3], tiny_builtin.embed([""])[0])
    for elevation, height in ((75, "overhead"), (40, "45 up"), (10, "15 up")):
        text = views.at(cameras([0, 170], elevation)).text
        expected = [
            f"{PROMPT}, {direction} {height} view" for direction in ("front", "165 degrees left")
        ]
        torch.testing.assert_close(text, tiny_builtin.embed(expected))


def test_suffix_matches_training_captions():
    for view in (*VIEW_WORDS, *EXACT_VIEWS):
        assert PROMPT + prompts.VIEW_SUFFIX.format(view=view) == captions.with_view(PROMPT, view)


def test_empty_suffix_gives_equal_views(tiny_builtin):
    text = ViewPrompts.of(tiny_builtin, PROMPT, suffix="").at(cameras([0, 90, 180])).text
    assert bool((text == text[:1]).all())


def test_negative_prompt(tiny_builtin, tiny_sd):
    assert ViewPrompts.of(tiny_builtin, PROMPT).negative_prompt == ""
    assert ViewPrompts.of(tiny_sd, "a car").negative_prompt == prompts.NEGATIVE
    assert ViewPrompts.of(tiny_sd, "a car", negative="grey").negative_prompt == "grey"
    torch.testing.assert_close(
        ViewPrompts.of(tiny_sd, "a car", negative="").negative, tiny_sd.embed([""])
    )


def test_negative_prompt_is_checked(tiny_sd):
    with pytest.raises(UserError) as error:
        ViewPrompts.of(tiny_sd, "a car", negative="ugly\x07")
    assert str(error.value) == (
        "negative prompt: it holds the control character U+0007 at position 5; remove it"
    )


def test_unknown_words(tiny_builtin):
    tokenizer = tiny_builtin.text.tokenizer
    assert unknown_words(tokenizer, "A red mushroom, with WHITE spots!") == {}
    found = unknown_words(tokenizer, "a read mushrom's qzxj")
    assert list(found) == ["read", "mushrom", "s", "qzxj"]
    assert found["mushrom"][0] == "mushroom" and "red" in found["read"] and found["qzxj"] == []
    assert ViewPrompts.of(tiny_builtin, "a red mushrom qzxj").warnings == (
        f"prompt: the prior {tiny_builtin.name} does not know "
        '"mushrom" (nearest: mushroom), "qzxj"; '
        f"`gs3d vocab --prior {tiny_builtin.name}` lists the words that it knows",
    )


def test_open_vocabulary_gives_no_warning(tiny_sd):
    assert ViewPrompts.of(tiny_sd, "qzx").warnings == ()


def test_vocabulary_equals_world_vocabulary(tiny_builtin):
    tokenizer = tiny_builtin.text.tokenizer
    words = {number: word for word, number in tokenizer.get_vocab().items()}
    texts = tokenizer(captions.vocabulary_texts()).input_ids
    assert set(vocabulary(tokenizer)) == {words[i] for ids in texts for i in ids[1:-1]}
    assert {"mushroom", "teapot", "cyan", "45left", "15up"} <= set(vocabulary(tokenizer))
    assert knows_views(tokenizer, EXACT_VIEWS)


def test_shipped_tokenizer_knows_exact_views():
    # The class that model_index.json names. The tokenizer's own config names one of transformers 5.
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(builtin.FOLDER / "tokenizer")
    assert knows_views(tokenizer, EXACT_VIEWS) and builtin.known_words() == set(
        vocabulary(tokenizer)
    )


def test_open_vocabulary_has_no_exact_views(tiny_sd):
    assert not knows_views(tiny_sd.text.tokenizer, EXACT_VIEWS)


@pytest.mark.parametrize("prior", ["tiny_builtin", "tiny_sd"])
def test_long_prompt_keeps_direction_words(prior, request):
    prior = request.getfixturevalue(prior)
    words = ["red"] * 30 + ["car"]
    views = ViewPrompts.of(prior, " ".join(words))
    kept = len(views.prompt.split())
    assert 1 <= kept < 31
    assert views.warnings == (
        f'prompt: too long for the prior {prior.name}; it does not read "{" ".join(words[kept:])}"',
    )
    front, back = (
        views.directions[[v.split()[0] for v in views.views].index(word)]
        for word in ("front", "back")
    )
    assert not torch.allclose(front, back)
    longest = max(views.views, key=lambda view: len(prior.text.tokenizer(view).input_ids))
    longer = f"{views.prompt} red, {longest} view"
    assert len(prior.text.tokenizer(longer).input_ids) > prior.text.max_tokens


def test_short_prompt_is_unchanged(tiny_sd):
    length = tiny_sd.text.encoders[0].length
    assert shortened(length, "a red car", ", view", 16) == ("a red car", "")


def test_white_space_is_collapsed():
    assert check_prompt("  a red\tcar\n") == "a red car"
    assert check_prompt("ein grüner Frosch 🐸") == "ein grüner Frosch 🐸"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", 'prompt: it is empty; say what to make, such as "a red mushroom with white spots"'),
        (
            " \n\t ",
            'prompt: it is empty; say what to make, such as "a red mushroom with white spots"',
        ),
        (
            " - a red car",
            "prompt: it begins with -, as an option of a command does; leave the - out",
        ),
        (None, "prompt: expected text, got NoneType"),
        (b"a car", "prompt: expected text, got bytes"),
        (
            "x" * 10_000,
            "prompt: expected at most 1000 characters, got 10000; "
            "shorten it to one or two sentences",
        ),
        (
            "a \x1b[31mred car",
            "prompt: it holds the control character U+001B at position 3; remove it",
        ),
        ("a\x00car", "prompt: it holds the control character U+0000 at position 2; remove it"),
        (
            "a \udcff car",
            "prompt: it holds a byte that is not valid UTF-8 at position 3; remove it",
        ),
    ],
)
def test_invalid_prompts(prompt, message):
    with pytest.raises(UserError) as error:
        check_prompt(prompt)
    assert str(error.value) == message
