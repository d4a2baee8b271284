# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# diffusers exports its classes lazily, and diffusers and transformers have no complete types.
"""The built-in prior: a small transformer on 64² pixels, stored as a diffusers model folder.

The functions `new_*` create an untrained model for `gs3d.pretraining.prior`. `priors.load` reads a
trained one like any other model folder.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gs3d.core.errors import UserError

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

FOLDER = Path(__file__).parent / "builtin"
DATA_STD = 0.5
"""Approximate standard deviation of images in [−1, 1]."""
SIGMA_DATA = 0.1
"""σ_data of the EDM scaling. Karras et al. 2022 use DATA_STD.

The target of the network contains the noise with the factor s / √(σ² + s²), where s is σ_data: most
of the noise, until σ is well above s. A patch of 192 numbers (8×8×3) in 192 channels has no
capacity for that. With 0.1 the network predicts the image at all but the lowest σ (compare Li & He
2025, arXiv 2511.13720, who predict the image from large patches). docs/results-v1.md compares both.
"""
IMAGE_SIZE = 64
PATCH = 8
TEXT_WIDTH = 96
MAX_TOKENS = 25
"""Tokens of a caption of an object, with those of its begin and end."""


def known_words(folder: Path = FOLDER) -> set[str] | None:
    """Vocabulary of the prior in `folder`; None if its tokenizer reads any text.

    It can be smaller than that of the procedural world, which may have grown since the training.
    Raises `UserError` if the file is damaged.
    """
    from gs3d.priors.loading.headers import read_object

    path, what = folder / "tokenizer" / "tokenizer.json", f"prior {folder}: its tokenizer"
    if not path.is_file():
        return None
    model = read_object(path, what).get("model")
    settings = cast("dict[str, Any]", model) if isinstance(model, dict) else {}
    if settings.get("type") != "WordLevel":
        return None
    vocabulary = settings.get("vocab")
    found = cast("dict[str, int]", vocabulary) if isinstance(vocabulary, dict) else {}
    words = [word for word in found if not word.startswith("[")]
    if not words:
        raise UserError(f"{what} knows no words; download the model again")
    return set(words)


def new_backbone(
    image_size: int = IMAGE_SIZE, layers: int = 5, heads: int = 4, head_width: int = 48
) -> "SD3Transformer2DModel":
    """Untrained transformer with joint attention between patches of 8×8 pixels and caption tokens.

    The default has 6.5 M parameters. On two CPU cores it trains on four times as many images per
    second as a U-Net of that size, and learns shapes from fewer images: its first layer averages
    each patch over 64 noisy pixels (MODEL_CARD.md has the comparison).
    """
    from diffusers import SD3Transformer2DModel
    from torch import nn

    backbone = SD3Transformer2DModel(
        sample_size=image_size,
        patch_size=PATCH,
        in_channels=3,
        out_channels=3,
        num_layers=layers,
        num_attention_heads=heads,
        attention_head_dim=head_width,
        caption_projection_dim=heads * head_width,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        pos_embed_max_size=image_size // PATCH,
    )
    nn.init.zeros_(backbone.proj_out.weight)
    nn.init.zeros_(backbone.proj_out.bias)
    return backbone


def new_tokenizer(texts: list[str], max_tokens: int = MAX_TOKENS) -> "PreTrainedTokenizerFast":
    """Tokenizer with a closed vocabulary: one token for each word of `texts`, [UNK] for all others.

    Captions have at most `max_tokens` tokens, with those of their begin and end.
    A direction ("45 degrees left") and a height ("15 up") are one token each. As separate words,
    the network would first have to learn which number belongs to which word.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"(?<=[0-9]) degrees (?=(left|right)\b)"), ""),
            normalizers.Replace(Regex(r"(?<=[0-9]) (?=(up|down)\b)"), ""),
        ]
    )
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(behavior="removed")]
    )
    words = sorted(
        {
            word
            for text in texts
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
        }
    )
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[BOS]", "[EOS]", *words])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer, core.pre_tokenizer = normalizer, splitter
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]",
        special_tokens=[("[BOS]", vocabulary["[BOS]"]), ("[EOS]", vocabulary["[EOS]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=max_tokens,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    )


def new_text_encoder(tokenizer: "PreTrainedTokenizerFast") -> "CLIPTextModel":
    """Untrained two-layer text encoder, 0.23 M parameters."""
    from torch import nn
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            # Not an option of transformers: `priors.network.encode` reads it.
            sum_at_padding=True,  # pyright: ignore[reportCallIssue]
        )
    )
    # CLIP initializes its embeddings near zero, where one word among padding changes almost
    # nothing. A short training needs words that differ.
    for name, weight in encoder.named_parameters():
        if "embedding" in name:
            nn.init.normal_(weight, std=0.5 if "token" in name else 0.1)
    return encoder


def save(
    folder: Path,
    backbone: "SD3Transformer2DModel",
    text_encoder: "CLIPTextModel",
    tokenizer: "PreTrainedTokenizerFast",
    views: int = 1,
) -> None:
    """Write a diffusers model folder with float16 weights.

    It holds model_index.json, transformer/, text_encoder/, tokenizer/ and scheduler/. `views` 4
    marks a network on grids of four views (`priors.multiview`).
    """
    import copy
    import json

    import diffusers
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    for network, part in ((backbone, "transformer"), (text_encoder, "text_encoder")):
        # diffusers and transformers wrap `to` without its types.
        cast(Any, copy.deepcopy(network)).to(torch.float16).save_pretrained(folder / part)
    tokenizer.save_pretrained(folder / "tokenizer")
    diffusers.EDMEulerScheduler(
        sigma_data=SIGMA_DATA, sigma_min=0.01, sigma_max=20.0
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "EDMEulerScheduler"],
    } | ({"views": views} if views > 1 else {})
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
