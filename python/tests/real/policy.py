"""A tiny random policy: a Llama of two layers over the characters of plain text."""

from __future__ import annotations

import string
from typing import Any, Sequence, Tuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

#: The characters that have tokens.
LETTERS = tuple(string.printable[:95])


def tokenizer_of(words: Sequence[str] = LETTERS, split: bool = True) -> Any:
    """A tokenizer with one token a word, or one a character."""
    known = {"[PAD]": 0, "[EOS]": 1, "[UNK]": 2}
    known.update({word: number for number, word in enumerate(words, len(known))})
    inner = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated") if split else pre_tokenizers.WhitespaceSplit()
    if split:
        inner.decoder = decoders.Fuse()
    special = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, padding_side="left", **special)


def model_of(tokenizer: Any, width: int = 32, layers: int = 2) -> Any:
    """A random model for a tokenizer, the same with every call."""
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32768,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def tiny() -> Tuple[Any, Any]:
    """A policy and its tokenizer."""
    tokenizer = tokenizer_of()
    return model_of(tokenizer), tokenizer
