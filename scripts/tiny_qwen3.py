#!/usr/bin/env python3
"""Makes a Hugging Face folder of a tiny Qwen3 with random weights, for tests of engines in which the answers do not matter.

    tiny_qwen3.py TOKENIZER_DIR OUTPUT_DIR [--seed N]

Only the standard library. The weights are bfloat16; tokenizer and templates are copied from TOKENIZER_DIR.
"""

import argparse
import array
import json
import pathlib
import random
import shutil
import struct
import sys

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 256, 512, 2, 4, 2, 64
COPIED = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"]


def bfloat16(number):
    """The upper half of a single-precision number."""
    return struct.unpack("<I", struct.pack("<f", number))[0] >> 16


def shapes(vocabulary):
    """The tensors of the model with their shapes."""
    yield "model.embed_tokens.weight", [vocabulary, HIDDEN]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", [HIDDEN]
        yield name + "self_attn.q_proj.weight", [HEADS * HEAD, HIDDEN]
        yield name + "self_attn.k_proj.weight", [KV_HEADS * HEAD, HIDDEN]
        yield name + "self_attn.v_proj.weight", [KV_HEADS * HEAD, HIDDEN]
        yield name + "self_attn.o_proj.weight", [HIDDEN, HEADS * HEAD]
        yield name + "self_attn.q_norm.weight", [HEAD]
        yield name + "self_attn.k_norm.weight", [HEAD]
        yield name + "post_attention_layernorm.weight", [HIDDEN]
        yield name + "mlp.gate_proj.weight", [INNER, HIDDEN]
        yield name + "mlp.up_proj.weight", [INNER, HIDDEN]
        yield name + "mlp.down_proj.weight", [HIDDEN, INNER]
    yield "model.norm.weight", [HIDDEN]
    yield "lm_head.weight", [vocabulary, HIDDEN]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    given = json.loads((arguments.tokenizer / "config.json").read_text())
    vocabulary = given["vocab_size"]
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": LAYERS,
        "tie_word_embeddings": False,
        "use_cache": True,
        "torch_dtype": "bfloat16",
    }
    config.update({key: given[key] for key in ["bos_token_id", "eos_token_id", "pad_token_id"] if key in given})

    numbers = random.Random(arguments.seed)
    # A table to draw from: fast enough without a library for arrays.
    table = [bfloat16(numbers.gauss(0.0, 0.05)) for _ in range(1 << 14)]
    ones = bfloat16(1.0)
    header, tensors, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape in shapes(vocabulary):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        data = array.array("H", [ones] * count if len(shape) == 1 else numbers.choices(table, k=count))
        if sys.byteorder == "big":
            data.byteswap()
        tensors.append(data)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + 2 * count]}
        offset += 2 * count
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)

    arguments.output.mkdir(parents=True, exist_ok=True)
    with open(arguments.output / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for data in tensors:
            data.tofile(file)
    (arguments.output / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in COPIED:
        if (arguments.tokenizer / name).exists():
            shutil.copy(arguments.tokenizer / name, arguments.output / name)
    print(f"{arguments.output}: {offset / 2e6:.1f} million random weights")


if __name__ == "__main__":
    main()
