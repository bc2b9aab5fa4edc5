#!/usr/bin/env python3
"""Prints the arithmetic of docs/performance.md: the most that an 8B judge can reach on common GPUs, by their data sheets.

    python3 benches/roofline.py [--prompt 1500] [--shared 400] [--reasoning 512] [--steps 8]

Nothing here is measured. Every step is bounded by the larger of two times: reading weights, keys and values at the memory's
bandwidth, and multiplying at the peak of the tensor cores. Real engines reach a part of that.
"""

import argparse

# Qwen3-8B: the shape of RewardAnything-8B.
LAYERS, HIDDEN, KV_HEADS, HEAD, VOCABULARY = 36, 4096, 8, 128, 151_936
PARAMETERS = 8.19e9
EMBEDDING = VOCABULARY * HIDDEN
# A step reads all weights except the embedding table, from which it only looks up single rows.
READ = PARAMETERS - EMBEDDING
# Tokens of a prompt need no logits.
PER_PROMPT_TOKEN = 2 * (READ - EMBEDDING)
KV_BYTES = LAYERS * KV_HEADS * HEAD * 2 * 2
# Bytes of a weight, with its scales; for Q4_K_M, the average.
WEIGHTS = {"BF16": 2.0, "FP8": 1.0, "Q8_0": 34 / 32, "Q4_K_M": 4.85 / 8}

# Memory in GB, its bandwidth in GB/s, dense BF16 in TFLOP/s; from the makers' data sheets.
GPUS = {
    "L4": (24, 300, 121),
    "A10": (24, 600, 125),
    "RTX 4090": (24, 1008, 165),
    "L40S": (48, 864, 362),
    "A100 80 GB": (80, 2039, 312),
    "H100 SXM": (80, 3350, 989),
    "H200": (141, 4800, 989),
    "B200": (180, 8000, 2250),
}


def judgment(gpu, weight_bytes, prompt, shared, reasoning, steps, batch):
    """Seconds of one judgment among `batch`, and judgments a second of all."""
    _, bandwidth, flops = gpu
    bandwidth, flops = bandwidth * 1e9, flops * 1e12
    context = prompt + reasoning / 2
    weights = READ * weight_bytes
    new = prompt - shared
    attention = 4 * LAYERS * HIDDEN * new * (shared + prompt) / 2
    prefill = max(weights / bandwidth, (PER_PROMPT_TOKEN * new + attention) / flops)
    step = max((weights + batch * context * KV_BYTES) / bandwidth, 2 * READ * batch / flops)
    decode = (reasoning + steps) * step
    # All prompts pass through the same cores.
    return prefill * batch + decode, batch / (prefill * batch + decode)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=1500, help="tokens of a prompt")
    parser.add_argument("--shared", type=int, default=400, help="of these, tokens that are kept from judgments before")
    parser.add_argument("--reasoning", type=int, default=512, help="tokens of reasoning")
    parser.add_argument("--steps", type=int, default=8, help="sampled steps of the verdict")
    args = parser.parse_args()
    request = (args.prompt, args.shared, args.reasoning, args.steps)
    held = args.prompt + args.reasoning + 80
    print(f"weights read in a step: {READ / 1e9:.2f} billion; keys and values: {KV_BYTES // 1024} KiB a token, "
          f"{held * KV_BYTES / 2**20:.0f} MiB a judgment of {held} tokens\n")
    print("| GPU | weights | read | one judgment | tokens/s alone | fit | judgments/s, 8 | 32 | 128 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, gpu in GPUS.items():
        memory = gpu[0] * 1e9 * 0.9
        for kind in ("BF16", "Q8_0") if name not in ("H100 SXM", "H200", "B200") else ("BF16", "FP8"):
            size = PARAMETERS * WEIGHTS[kind]
            fit = int((memory - size) / (held * KV_BYTES))
            if fit < 1:
                print(f"| {name} | {kind} | {size / 1e9:.1f} GB | does not fit | | | | | |")
                continue
            alone, _ = judgment(gpu, WEIGHTS[kind], *request, 1)
            step = (READ * WEIGHTS[kind] + (args.prompt + args.reasoning / 2) * KV_BYTES) / (gpu[1] * 1e9)
            rates = [
                f"{judgment(gpu, WEIGHTS[kind], *request, batch)[1]:.1f}" if batch <= fit else "-" for batch in (8, 32, 128)
            ]
            print(f"| {name} | {kind} | {READ * WEIGHTS[kind] / 1e9:.1f} GB | {alone:.1f} s | {1 / step:.0f} | {fit} | "
                  + " | ".join(rates) + " |")


if __name__ == "__main__":
    main()
