# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch and tokenizers have no complete types.
"""The text encoder of the built-in prior, transformers' CLIPTextModel, and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SIZES = (
    *("hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads"),
    *("num_hidden_layers", "vocab_size"),
)
"""Settings that must be positive integers."""
FIXED = {"hidden_act": "quick_gelu", "model_type": "clip_text_model", "sum_at_padding": True}
"""Other settings that decide what is computed → the values with which this class computes it."""
QUICK_GELU = 1.702
PREFIX = "text_model."
"""Begins the names of all weights in files that transformers 4 wrote."""


def supports_text(config: Mapping[str, Any]) -> bool:
    """Whether a config.json of a CLIPTextModel describes a network of this class."""
    return (
        all(config.get(key) == value for key, value in FIXED.items())
        and all(type(config.get(key)) is int and config[key] > 0 for key in SIZES)
        and config["hidden_size"] % config["num_attention_heads"] == 0
        and type(config.get("layer_norm_eps")) is float
        and type(config.get("pad_token_id")) is int
    )


class TextModel(nn.Module):
    """Numbers of tokens → states. Each token sees those before it (Radford et al. 2021)."""

    def __init__(self, config: Mapping[str, Any]):
        """One of the sizes in `config`, which `supports_text` must accept."""
        super().__init__()
        self.config = SimpleNamespace(**config)
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": _table(config["vocab_size"], width),
                "position_embedding": _table(config["max_position_embeddings"], width),
            }
        )
        layers = (Layer(config) for _ in range(config["num_hidden_layers"]))
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        self.final_layer_norm = nn.LayerNorm(width, eps=epsilon)

    @property
    def device(self) -> torch.device:
        return self.final_layer_norm.weight.device

    def forward(self, tokens: Int[Tensor, "P L"]) -> SimpleNamespace:
        """The `last_hidden_state` [P, L, W]."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        words = self.embeddings["token_embedding"](tokens)
        x = words + self.embeddings["position_embedding"](positions)
        x = self.encoder["layers"](x)
        return SimpleNamespace(last_hidden_state=self.final_layer_norm(x))


def _table(rows: int, width: int) -> nn.Embedding:
    """An embedding without values. torch's own ones take seconds of imports on no device."""
    return nn.Embedding.from_pretrained(torch.empty(rows, width))


class Layer(nn.Module):
    """Attention and a feed-forward network, each after a normalization."""

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.layer_norm1 = nn.LayerNorm(width, eps=epsilon)
        self.self_attn = Attention(width, config["num_attention_heads"])
        self.layer_norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = FeedForward(width, config["intermediate_size"])

    def forward(self, x: Float[Tensor, "P L W"]) -> Float[Tensor, "P L W"]:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Attention(nn.Module):
    """Each token attends to itself and those before it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "P L W"]) -> Float[Tensor, "P L W"]:
        q, k, v = (
            f(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with x·sigmoid(1.702·x) between them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * (QUICK_GELU * x).sigmoid())


@dataclass(frozen=True)
class Tokens:
    """Numbers of the tokens of a text, or of several, and 1 for each token and 0 for padding."""

    input_ids: Any
    attention_mask: Any


class Tokenizer:
    """A tokenizer.json. Has what gs3d uses of transformers' PreTrainedTokenizerFast."""

    def __init__(self, file: Path, max_length: int, padding: str, unknown: str):
        """`padding` is the token that fills up texts, `unknown` that of words it does not know.

        Raises an error of the library `tokenizers`, or KeyError, for a file that is none.
        """
        from tokenizers import Tokenizer as FromFile

        self.model_max_length = max_length
        self.backend_tokenizer = FromFile.from_file(str(file))
        added = self.backend_tokenizer.get_added_tokens_decoder()
        special = {number: token.content for number, token in added.items() if token.special}
        self.all_special_ids, self.all_special_tokens = list(special), list(special.values())
        self.unk_token_id = self.get_vocab()[unknown]
        self._padding = {"pad_id": self.get_vocab()[padding], "pad_token": padding}

    def get_vocab(self) -> dict[str, int]:
        return self.backend_tokenizer.get_vocab()

    def decode(self, ids: list[int]) -> str:
        return self.backend_tokenizer.decode(ids, skip_special_tokens=False)

    def __call__(
        self,
        text: str | list[str],
        *,
        padding: bool | Literal["max_length"] = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: Literal["pt"] | None = None,
        return_attention_mask: bool = True,
        verbose: bool = True,
    ) -> Tokens:
        """Lists of numbers, or tensors [P, L]; the options are those of transformers."""
        length, backend = max_length or self.model_max_length, self.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        if truncation:
            backend.enable_truncation(length)
        if padding:
            length = length if padding == "max_length" else None
            backend.enable_padding(length=length, **self._padding)
        texts = [text] if isinstance(text, str) else text
        found = backend.encode_batch(texts)
        ids, mask = [one.ids for one in found], [one.attention_mask for one in found]
        if return_tensors:
            return Tokens(torch.tensor(ids), torch.tensor(mask))
        return Tokens(ids[0], mask[0]) if isinstance(text, str) else Tokens(ids, mask)
