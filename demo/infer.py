"""Greedy, unguided generation with the training framework, from the Hugging Face form in `hf/`."""

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import data
import model

OPENING = "<think>\n"  # fed, not generated: the profile's reasoning prefix
BUDGET = 200
BATCH = 16
LENGTHS = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
HF_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm",
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}
VERDICT = re.compile(r'\A[^\n]+\n</think>\n\n(\{\n  "scores": \{.*\},\n  "best-to-worst": \[.*\]\n\})<\|im_end\|>\Z')


def load(folder):
    """Configuration, parameters and tokenizer of an exported judge."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    c = model.Config(
        vocab=config["vocab_size"], width=config["hidden_size"], layers=config["num_hidden_layers"], heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"], head_dim=config["head_dim"], hidden=config["intermediate_size"], theta=config["rope_theta"],
        eps=config["rms_norm_eps"], context=config["max_position_embeddings"])

    def tensor(name):
        value = tensors[name].astype(np.float32)
        return jnp.asarray(value.T if value.ndim == 2 and "embed" not in name else value)

    layers = [{ours: tensor(f"model.layers.{i}.{theirs}.weight") for ours, theirs in HF_NAMES.items()} for i in range(c.layers)]
    net = dict(emb=tensor("model.embed_tokens.weight"), norm=tensor("model.norm.weight"), layers=layers)
    return c, net, Tokenizer.from_file(str(folder / "tokenizer.json"))


@functools.partial(jax.jit, static_argnames="c")
def _prefill(net, ids, lengths, c):
    states, cache = model.trunk(net, ids, c)
    logits = model.head(net, states[-1][jnp.arange(ids.shape[0]), lengths - 1], c)
    room = lambda x: jnp.pad(x, ((0, 0), (0, BUDGET), (0, 0), (0, 0)))
    return logits, jax.tree.map(room, cache)


@functools.partial(jax.jit, static_argnames="c", donate_argnums=3)
def _step(net, token, position, cache, c):
    x = net["emb"][token][:, None]
    table = model.rope_table(position[:, None], c)
    mask = jnp.where(jnp.arange(cache[0][0].shape[1])[None] <= position[:, None], 0.0, -1e9)[:, None, None]
    grown = []
    for layer, kv in zip(net["layers"], cache):
        x, kv = model.block(layer, x, table, c, kv, position, mask)
        grown.append(kv)
    return model.head(net, x[:, 0], c).argmax(-1), grown


def generate(judge, prompts):
    """The text after `OPENING` for each prompt, special tokens included."""
    c, net, tokenizer = judge
    end = tokenizer.token_to_id("<|im_end|>")
    codes = [e.ids for e in tokenizer.encode_batch([p + OPENING for p in prompts])]
    texts = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(codes[i]))
    for begin in range(0, len(order), BATCH):
        part = order[begin: begin + BATCH]
        length = next(n for n in LENGTHS if n >= max(len(codes[i]) for i in part))
        ids, lengths = np.zeros((BATCH, length), np.int32), np.ones(BATCH, np.int32)
        for row, i in enumerate(part):
            ids[row, : len(codes[i])], lengths[row] = codes[i], len(codes[i])
        logits, cache = _prefill(net, ids, lengths, c)
        token, position = logits.argmax(-1), jnp.asarray(lengths)
        out = [np.asarray(token)]
        finished = np.arange(BATCH) >= len(part)
        for _ in range(BUDGET - 1):
            finished |= out[-1] == end
            if finished.all():
                break
            token, cache = _step(net, token, position, cache, c)
            position += 1
            out.append(np.asarray(token))
        columns = np.stack(out, 1)
        for row, i in enumerate(part):
            row_ids = columns[row].tolist()
            cut = row_ids.index(end) + 1 if end in row_ids else len(row_ids)
            texts[i] = tokenizer.decode(row_ids[:cut], skip_special_tokens=False)
    return texts


def parse(text, count):
    """(scores, order) of a complete verdict in the fixed layout, else None."""
    match = VERDICT.match(text)
    if not match:
        return None
    try:
        answer = json.loads(match.group(1))
    except json.JSONDecodeError:
        return None
    names = [f"model-{i + 1}" for i in range(count)]
    scores = answer["scores"]
    if list(scores) != names or sorted(answer["best-to-worst"]) != names or not all(type(s) is int and 1 <= s <= 5 for s in scores.values()):
        return None
    return [scores[n] for n in names], [names.index(n) for n in answer["best-to-worst"]]


def judge_items(judge, items):
    """Verdicts in the terms of the items: {"scores": {name: n}, "ranking": [names], "reasoning": line}, or None if the
    verdict is not complete. Answers are shown in the order in which they are given."""
    names = [list(item["responses"]) for item in items]
    prompts = [data.render(i["principle"], i["prompt"], list(i["responses"].values()))[0] for i in items]
    verdicts = []
    for aliases, text in zip(names, generate(judge, prompts)):
        read = parse(text, len(aliases))
        verdicts.append(read and dict(scores=dict(zip(aliases, read[0])), ranking=[aliases[i] for i in read[1]], reasoning=text.split("\n")[0]))
    return verdicts
