#!/usr/bin/env python3
"""Writes a Qwen3 model file with random weights and the real Qwen3 tokenizer and chat template.

Its judgments mean nothing, but it loads, tokenizes and computes like a real model: for tests (--shape tiny) and for
benchmarks (--shape 0.6b and 8b, the exact shapes of Qwen3-0.6B and Qwen3-8B). The same arguments give the same bytes. Weights are made and
written tensor by tensor; the largest is held in memory once.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np

SHAPES = {
    "tiny": {"layers": 2, "hidden": 64, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 128, "context": 8192},
    "0.6b": {"layers": 28, "hidden": 1024, "heads": 16, "kv_heads": 8, "head_dim": 128, "ffn": 3072, "context": 40960},
    # Has a separate matrix for the logits.
    "8b": {"layers": 36, "hidden": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "ffn": 12288, "context": 40960,
           "output": True},
}
VOCABULARY = 151_936
# Rows that are generated at once: 1024 columns of 32-bit numbers take 16 MiB.
CHUNK_ROWS = 4096
BLOCK = 32


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="the .gguf file to write")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, metavar="FOLDER",
                        help="folder with tokenizer.json and tokenizer_config.json of Qwen3")
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--quant", choices=["f16", "bf16", "q8_0"], default="f16", help="how matrices are stored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--context", type=int, help="context length, instead of the shape's own")
    parser.add_argument("--name", help="general.name of the model")
    parser.add_argument("--no-chat-template", action="store_true", help="leave the chat template out")
    return parser.parse_args()


def add_tokenizer(writer, folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    tokens = [f"[PAD{number}]" for number in range(VOCABULARY)]
    types = [gguf.TokenType.UNUSED] * VOCABULARY
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number], types[number] = text, normal
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = control if added["special"] else gguf.TokenType.USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    ids = {token: number for number, token in enumerate(tokens)}

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(ids[config["eos_token"]])
    writer.add_pad_token_id(ids[config["pad_token"]])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    return config["chat_template"]


def tensors(shape):
    """Names and shapes (rows, columns) of all tensors, in the order of the file; a vector has no rows."""
    hidden, head, ffn = shape["hidden"], shape["head_dim"], shape["ffn"]
    query, key = shape["heads"] * head, shape["kv_heads"] * head
    yield "token_embd", (VOCABULARY, hidden)
    for layer in range(shape["layers"]):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm", (hidden,)
        yield f"{block}.attn_q", (query, hidden)
        yield f"{block}.attn_k", (key, hidden)
        yield f"{block}.attn_v", (key, hidden)
        yield f"{block}.attn_output", (hidden, query)
        yield f"{block}.attn_q_norm", (head,)
        yield f"{block}.attn_k_norm", (head,)
        yield f"{block}.ffn_norm", (hidden,)
        yield f"{block}.ffn_gate", (ffn, hidden)
        yield f"{block}.ffn_up", (ffn, hidden)
        yield f"{block}.ffn_down", (hidden, ffn)
    yield "output_norm", (hidden,)
    if shape.get("output"):
        yield "output", (VOCABULARY, hidden)


def f16(random, rows, columns):
    """Normal numbers of standard deviation 0.02, as 16 bit floats."""
    data = np.empty((rows, columns), dtype=np.float16)
    for start in range(0, rows, CHUNK_ROWS):
        part = data[start:start + CHUNK_ROWS]
        part[:] = random.standard_normal(part.shape, dtype=np.float32) * np.float32(0.02)
    return data


def bf16(random, rows, columns):
    """The same, as the upper halves of 32 bit floats."""
    data = np.empty((rows, columns), dtype=np.uint16)
    for start in range(0, rows, CHUNK_ROWS):
        part = data[start:start + CHUNK_ROWS]
        numbers = random.standard_normal(part.shape, dtype=np.float32) * np.float32(0.02)
        part[:] = numbers.view(np.uint32) >> 16
    return data


def q8_0(random, rows, columns):
    """Even numbers of standard deviation 0.02, as blocks of a 16 bit scale and 32 signed bytes."""
    data = np.empty((rows, columns // BLOCK, 2 + BLOCK), dtype=np.uint8)
    scale = np.float16(0.02 * 3**0.5 / 127)
    data[:, :, :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    for start in range(0, rows, CHUNK_ROWS):
        part = data[start:start + CHUNK_ROWS, :, 2:]
        part[:] = random.integers(-127, 128, size=part.shape, dtype=np.int8).view(np.uint8)
    return data.reshape(rows, -1)


def main():
    options = arguments()
    shape = SHAPES[options.shape]
    quantized = options.quant == "q8_0"
    kind = {
        "f16": gguf.LlamaFileType.MOSTLY_F16, "bf16": gguf.LlamaFileType.MOSTLY_BF16,
        "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    }[options.quant]
    make = {"f16": f16, "bf16": bf16, "q8_0": q8_0}[options.quant]

    options.output.parent.mkdir(parents=True, exist_ok=True)
    # First written under another name, so that a file with the final name is always complete.
    unfinished = options.output.with_name(options.output.name + ".part")
    writer = gguf.GGUFWriter(unfinished, "qwen3")
    writer.add_name(options.name or f"Random Qwen3 {options.shape}")
    writer.add_file_type(kind)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(options.context or shape["context"])
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)
    template = add_tokenizer(writer, options.tokenizer)
    if not options.no_chat_template:
        writer.add_chat_template(template)

    for name, size in tensors(shape):
        if len(size) == 1:
            writer.add_tensor_info(f"{name}.weight", size, np.dtype(np.float32), 4 * size[0])
        elif quantized:
            stored = (size[0], size[1] // BLOCK * (2 + BLOCK))
            writer.add_tensor_info(f"{name}.weight", stored, np.dtype(np.uint8), stored[0] * stored[1],
                                   gguf.GGMLQuantizationType.Q8_0)
        elif options.quant == "bf16":
            writer.add_tensor_info(f"{name}.weight", size, np.dtype(np.uint16), 2 * size[0] * size[1],
                                   gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor_info(f"{name}.weight", size, np.dtype(np.float16), 2 * size[0] * size[1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()

    random = np.random.default_rng(options.seed)
    for _, size in tensors(shape):
        if len(size) == 1:
            writer.write_tensor_data(np.ones(size, dtype=np.float32))
        else:
            writer.write_tensor_data(make(random, *size))
    writer.close()
    unfinished.replace(options.output)


if __name__ == "__main__":
    main()
