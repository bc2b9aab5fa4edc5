"""Byte-level BPE in Qwen2's form, trained on the items themselves and on WordNet's sentences.

The form (NFC, Qwen2's split pattern, byte alphabet) is the one that `tokenizer.ggml.pre = qwen2` means to a GGUF reader,
so the embedded engine tokenizes text exactly as training did. Each digit is a token of its own.
"""

import argparse
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import data
import prose

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]


def _corpus(items):
    rng = random.Random("tokenizer")
    for i in range(items):
        item = data.make(rng, held=False)
        text = data.render(item["principle"], item["prompt"], item["answers"])[0]
        for special in SPECIAL:
            text = text.replace(special, "")
        yield text
        yield "".join(part for part, _ in data.target(item["criteria"], item["levels"])[1:-1])
        # Words that no template uses: texts of real users are full of them.
        yield " ".join(rng.sample(prose.EXAMPLES, 6))


def train(size, items=12000):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(_corpus(items), trainer=trainer)
    return tokenizer


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", required=True)
    args.add_argument("--size", type=int, default=8192)
    a = args.parse_args()
    train(a.size).save(a.out)


if __name__ == "__main__":
    main()
