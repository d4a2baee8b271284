"""Texts of PixArt, DeepFloyd IF and FLUX.1: prompts that are too long, and tokenizers in a file."""

import io
import shutil

import pytest
import transformers

from gs3d.core.cameras import ring
from gs3d.priors import ViewPrompts, load
from gs3d.priors.loading import parts
from tests.priors.families.tiny import write_tiny_pixart
from tests.priors.loading.helpers import message

LONG = " ".join(["red car blue dog"] * 40)


@pytest.mark.parametrize(("name", "limit"), [("alpha", 120), ("if", 77)])
def test_prompts_are_as_long_as_t5_reads(folders, name, limit):
    prior = load(folders[name], "cpu")
    assert prior.text.max_tokens == limit
    views = ViewPrompts.of(prior, LONG.upper(), negative=LONG)
    assert len(views.warnings) == 2
    cut = views.warnings[0].removeprefix(
        f'prompt: too long for the prior {prior.name}; it does not read "'
    )
    assert f"{views.prompt} {cut.removesuffix(chr(34))}" == LONG.upper()
    assert views.warnings[1].startswith(f"negative prompt: too long for the prior {prior.name}; ")
    length = prior.text.encoders[0].length
    end = max((f", {view} view" for view in views.views), key=length)
    assert length(views.prompt + end) <= limit < length(f"{views.prompt} red car{end}")
    assert views.at(ring(4, 8)).text.shape[:2] == (4, limit)


def test_the_summary_of_flux_is_of_less(folders):
    """T5 reads all of it; CLIP, 16 tokens here, only the beginning."""
    prior = load(folders["dev"], "cpu")
    assert prior.text.max_tokens == 512
    prompt = "red red red red red red red red red red red red red red red"
    views = ViewPrompts.of(prior, prompt)
    assert views.prompt == prompt and len(views.warnings) == 1
    assert views.warnings[0].startswith(
        f"prompt: too long for the text_encoder of the prior {prior.name}, which gives a summary "
        'of it; it does not read "red'
    )
    assert not ViewPrompts.of(prior, "a red", suffix="").warnings


@pytest.mark.parametrize("missing", [["sentencepiece"], ["sentencepiece", "protobuf"]])
def test_a_tokenizer_that_needs_a_package(folders, tmp_path, monkeypatch, missing):
    """PixArt and IF come with a SentencePiece model, and without tokenizer.json."""
    folder = shutil.copytree(folders["sigma"], tmp_path / "model")
    (folder / "tokenizer/tokenizer.json").rename(folder / "tokenizer/spiece.model")
    modules = {parts.SENTENCEPIECE[package] for package in missing}
    monkeypatch.setattr(parts, "_is_installed", lambda module: module not in modules)
    several = "s" * (len(missing) > 1)
    assert message(lambda: load(folder, "cpu")) == (
        f"prior {folder}: its tokenizer is a SentencePiece model, which transformers reads with "
        f"the package{several} {' and '.join(missing)}; install with "
        f"`pip install {' '.join(missing)}`"
    )


def test_whether_a_package_is_installed():
    assert parts._is_installed("torch.nn")
    assert not parts._is_installed("nothing_of_this_name")
    assert not parts._is_installed("nothing_of_this_name.inside")


def test_a_tokenizer_in_a_sentencepiece_model(tmp_path):
    """As PixArt and IF have it, made by SentencePiece itself."""
    spm = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    texts = ["a red car, front view", "the quick brown fox jumps over a lazy dog"]
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20),
        model_writer=written,
        vocab_size=48,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    pieces = spm.SentencePieceProcessor(model_proto=written.getvalue())
    size = pieces.get_piece_size()
    folder = write_tiny_pixart(tmp_path / "model", text_encoder={"vocab_size": size})
    (folder / "tokenizer/tokenizer.json").unlink()
    (folder / "tokenizer/spiece.model").write_bytes(written.getvalue())
    prior = load(folder, "cpu")
    ids = prior.text.tokenizer("a red dog").input_ids
    expected = [*pieces.encode("a red dog"), 1]
    if transformers.__version__ < "5":
        # It leaves out the blank before the first word, which is a piece of its own here.
        expected = expected[1:]
    assert ids == expected
    assert prior.embed(["a red dog"]).isfinite().all()
