"""The prior shipped in the package: a small U-Net at 64² pixels, in the layout of any diffusers model folder.

Space-to-depth by 2 is an orthogonal `encode`, so a stock diffusers U-Net with 12 channels at 32×32 is a pixel model of 64×64.
`new_unet` and its neighbours make an untrained one for `fitting.prior`; a trained one is read by `priors.load` like any other folder.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, PreTrainedTokenizerFast

FOLDER = Path(__file__).parent / "builtin"
SIGMA_DATA = 0.5
IMAGE_SIZE = 64
PATCH = 2
MAX_TOKENS = 16


def new_unet() -> "UNet2DConditionModel":
    """An untrained U-Net, 7.5 M parameters; attention at 8×8 only, where two CPU cores can afford it."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // PATCH,
        in_channels=3 * PATCH**2,
        out_channels=3 * PATCH**2,
        block_out_channels=(64, 128, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=4,  # diffusers reads this as the number of heads for this class
        # The pooled text joins the time embedding and so reaches every layer. With attention at 8×8 alone a short training never
        # got as far as using the text: after 47,000 pictures a wrong caption cost nothing.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        norm_num_groups=16,
    )


def new_tokenizer(words: list[str]) -> "PreTrainedTokenizerFast":
    """One token a word of a closed vocabulary; anything else is [UNK]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    vocabulary = {word: i for i, word in enumerate(special + words)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(behavior="removed")],
    )
    core.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]",
        special_tokens=[("[BOS]", vocabulary["[BOS]"]), ("[EOS]", vocabulary["[EOS]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=MAX_TOKENS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    )


def new_text_encoder(tokenizer: "PreTrainedTokenizerFast") -> "CLIPTextModel":
    """An untrained two-layer text encoder, 0.25 M parameters."""
    from torch import nn
    from transformers import CLIPTextConfig, CLIPTextModel

    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=384,
            projection_dim=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # CLIP starts its embeddings near zero, where one word among padding changes almost nothing; a short training needs words that differ.
    for name, weight in encoder.named_parameters():
        if "embedding" in name:
            nn.init.normal_(weight, std=0.5 if "token" in name else 0.1)
    return encoder


def save(folder: Path, unet, text_encoder, tokenizer) -> None:
    """Write a diffusers folder: model_index.json, unet/, text_encoder/, tokenizer/, scheduler/; weights in float16."""
    import copy
    import json

    import diffusers
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(unet).to(torch.float16).save_pretrained(folder / "unet")
    copy.deepcopy(text_encoder).to(torch.float16).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    diffusers.EDMEulerScheduler(sigma_data=SIGMA_DATA, sigma_min=0.01, sigma_max=20.0).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "DiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "EDMEulerScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
