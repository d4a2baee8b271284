"""`gs3d vocab`: exactly the words that a prior knows."""

from gs3d.priors import builtin
from gs3d.world.captions import words
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from tests.cli.commands import one_line_fault, run


def test_every_known_kind_and_color_is_listed_and_no_other(capsys, monkeypatch):
    known = builtin.known_words()
    assert {"mushroom", "red", "spots", "photo", "overhead"} <= known
    monkeypatch.setattr(builtin, "known_words", lambda folder: known - {"mushroom", "stripes"})
    status, out, _ = run(capsys, "vocab")
    assert status == 0 and "mushroom" not in out and "stripes" not in out
    for text in [*KINDS, *NAMED, "spots"]:
        assert (text in out) == (set(words(text)) <= known - {"mushroom"})


def test_elements_without_known_words_are_left_out(capsys, monkeypatch):
    assert "[MATERIAL]" in run(capsys, "vocab")[1]
    monkeypatch.setattr(builtin, "known_words", lambda folder: {"a", "red", "chair"})
    out = run(capsys, "vocab")[1]
    assert "[MATERIAL]" not in out and "RELATION" not in out and "chair" in out


def test_prior_for_any_text_has_no_vocabulary(capsys, tiny_sd_folder):
    message = one_line_fault(capsys, "vocab", "--prior", str(tiny_sd_folder))
    assert "accepts any text" in message
