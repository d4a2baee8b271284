import numpy as np
import pytest

from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.captions import PREFIXES, caption, vocabulary, vocabulary_words, with_view, words
from gs3d.world.colours import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.sample import sample


def test_a_caption_says_what_the_sample_is_and_can_be_read_back():
    rng = np.random.default_rng(0)
    for _ in range(200):
        made = sample(rng)
        said = words(made.caption)
        assert made.kind.split() == [w for w in said if w in " ".join(KINDS).split()]
        colours = [w for w in said if w in NAMED]
        assert colours == [c for c in (made.colour, made.pattern_colour) if c]
        assert [w for w in said if w in ("spots", "stripes")] == ([made.pattern] if made.pattern else [])


def test_every_word_that_a_training_caption_can_hold_is_in_the_vocabulary():
    known, rng = set(vocabulary_words()), np.random.default_rng(1)
    for kind in KINDS:
        for colour in NAMED:
            text = sample(rng, kind, colour).caption
            for prefix in PREFIXES:
                for view in (*VIEW_WORDS, *EXACT_VIEWS):
                    assert set(words(with_view(f"{prefix} {text}", view))) <= known


def test_the_vocabulary_has_each_word_once_and_no_word_for_nothing():
    listed = vocabulary_words()
    assert listed == sorted(set(listed))
    entries = vocabulary()
    assert entries["kinds"] == list(KINDS) and entries["colours"] == list(NAMED) and entries["views"] == [*VIEW_WORDS, *EXACT_VIEWS]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("mushroom", "red", "spots", "white"), "a red mushroom with white spots"),
        (("ice cream", "orange"), "an orange ice cream"),
        (("rocket", "blue", "stripes", "orange"), "a blue rocket with orange stripes"),
    ],
)
def test_captions_are_plain_english(arguments, text):
    assert caption(*arguments) == text


def test_the_view_word_comes_last_and_may_be_left_out():
    assert with_view("a red car", "front") == "a red car, front view"
    assert with_view("a red car", None) == "a red car"
