"""Writes a checkpoint in the forms in which it is used: Hugging Face folder, GGUF, and the fixture of logits."""

import argparse
import json
import pickle
import random
from pathlib import Path

import gguf
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import data
import model
from infer import HF_NAMES, OPENING

NAME = "dicast-demo"
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
GGUF_NAMES = {
    "attn_norm": "attn_norm", "ffn_norm": "ffn_norm", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm", "q": "attn_q", "k": "attn_k",
    "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}
# Half precision in the file, single in the reference: their logits may differ by this much.
TOLERANCE = 0.05


def to_half(net):
    """The parameters as the files hold them: matrices rounded to half precision, norms exact."""
    round_ = lambda x: np.asarray(x, np.float32).astype(np.float16) if np.ndim(x) == 2 else np.asarray(x, np.float32)
    return dict(emb=round_(net["emb"]), norm=round_(net["norm"]), layers=[{k: round_(v) for k, v in layer.items()} for layer in net["layers"]])


def write_hf(folder, net, c, tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"model.embed_tokens.weight": net["emb"], "model.norm.weight": net["norm"]}
    for i, layer in enumerate(net["layers"]):
        for ours, theirs in HF_NAMES.items():
            tensors[f"model.layers.{i}.{theirs}.weight"] = np.ascontiguousarray(layer[ours].T)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    end, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    write("config.json", dict(
        architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.hidden,
        num_hidden_layers=c.layers, num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, head_dim=c.head_dim, hidden_act="silu",
        max_position_embeddings=c.context, rms_norm_eps=c.eps, rope_theta=c.theta, rope_scaling=None, attention_bias=False, attention_dropout=0.0,
        use_sliding_window=False, sliding_window=None, max_window_layers=c.layers, tie_word_embeddings=True, bos_token_id=pad, eos_token_id=end,
        pad_token_id=pad, use_cache=True, torch_dtype="float16"))
    write("generation_config.json", dict(bos_token_id=pad, eos_token_id=end, pad_token_id=pad, do_sample=False, max_new_tokens=256))
    special = sorted(tokenizer.get_added_tokens_decoder().items())
    write("tokenizer_config.json", dict(
        tokenizer_class="Qwen2Tokenizer", add_prefix_space=False, add_bos_token=False, clean_up_tokenization_spaces=False, errors="replace",
        model_max_length=c.context, bos_token=None, unk_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", split_special_tokens=False,
        chat_template=TEMPLATE, added_tokens_decoder={str(i): dict(content=t.content, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True) for i, t in special}))


def write_gguf(path, net, c, tokenizer):
    w = gguf.GGUFWriter(str(path), "qwen3")
    w.add_name(NAME)
    w.add_description("Demonstration judge: follows simple stylistic principles. Not a reward model to train with.")
    w.add_context_length(c.context)
    w.add_embedding_length(c.width)
    w.add_block_count(c.layers)
    w.add_feed_forward_length(c.hidden)
    w.add_head_count(c.heads)
    w.add_head_count_kv(c.kv_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_rope_freq_base(c.theta)
    w.add_layer_norm_rms_eps(c.eps)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    form = json.loads(tokenizer.to_str())["model"]
    special = set(tokenizer.get_added_tokens_decoder())
    tokens = [t for t, _ in sorted(form["vocab"].items(), key=lambda kv: kv[1])]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL for i in range(len(tokens))])
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in form["merges"]])
    w.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    w.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
    w.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)
    w.add_tensor("token_embd.weight", net["emb"])
    w.add_tensor("output_norm.weight", net["norm"])
    for i, layer in enumerate(net["layers"]):
        for ours, theirs in GGUF_NAMES.items():
            w.add_tensor(f"blk.{i}.{theirs}.weight", np.ascontiguousarray(layer[ours].T))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_logits(path, net, c, tokenizer):
    """A few prompts with the reference's last logits: the highest twenty, and a fixed probe spread over the vocabulary."""
    single = dict(emb=jnp.asarray(net["emb"], jnp.float32), norm=jnp.asarray(net["norm"]), layers=[{k: jnp.asarray(v, jnp.float32) for k, v in layer.items()} for layer in net["layers"]])
    rng = random.Random("logits")
    texts = ["<|im_start|>user\nHello!<|im_end|>\n"]
    for budget in (150, 600, 2500):
        item = data.make(rng, held=True, budget=budget)
        prompt = data.render(item["principle"], item["prompt"], item["answers"])[0]
        output = "".join(part for part, _ in data.target(item["criteria"], item["levels"]))
        texts += [prompt + OPENING, prompt + output[: output.index('"scores"') + 22]]
    probe = list(range(0, c.vocab, c.vocab // 24))
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        states, _ = model.trunk(single, np.array([ids]), c)
        logits = np.asarray(model.head(single, states[-1][:, -1], c))[0]
        top = np.argsort(-logits, kind="stable")[:20]
        pick = lambda at: [[int(i), round(float(logits[i]), 5)] for i in at]
        cases.append(dict(tokens=ids, text=text, top=pick(top), probe=pick(probe)))
    path.write_text(json.dumps(dict(model=f"{NAME}.gguf", tolerance=TOLERANCE, note="Logits after the last token, computed in single precision from the half-precision weights.", cases=cases), ensure_ascii=False) + "\n")


def write_profile(path):
    path.write_text(json.dumps(dict(
        format=1, name=NAME, system_prompt=data.SYSTEM, message_layout="system_user_json", alias_prefix="model-", scale=dict(min=1, max=5),
        reasoning=dict(open="<think>", close="</think>", prefix="\n"),
        verdict=dict(layout='{\n  "scores": {%scores%},\n  "best-to-worst": [%ranking%]\n}'),
        decoding=dict(temperature=0.0, max_reasoning_tokens=96)), indent=2) + "\n")


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--checkpoint", required=True)
    args.add_argument("--tokenizer", required=True)
    args.add_argument("--folder", type=Path, default=Path(__file__).parent)
    a = args.parse_args()
    saved = pickle.loads(Path(a.checkpoint).read_bytes())
    c, tokenizer = model.Config(**saved["config"]), Tokenizer.from_file(a.tokenizer)
    net = to_half(saved["p"]["net"])
    write_hf(a.folder / "hf", net, c, tokenizer)
    write_gguf(a.folder / f"{NAME}.gguf", net, c, tokenizer)
    write_logits(a.folder / "logits.json", net, c, tokenizer)
    write_profile(a.folder / f"{NAME}.profile.json")
    print(NAME, (a.folder / f"{NAME}.gguf").stat().st_size, "bytes, step", saved["step"])


if __name__ == "__main__":
    main()
