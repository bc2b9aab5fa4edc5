#!/usr/bin/env bash
# Makes an engine folder for the stand-in: the layout that trtllm-build 1.2.1 writes, with a dummy engine.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: make_engine.sh [options] FOLDER

Writes FOLDER/config.json and FOLDER/rank*.engine for Dicast's stand-in for TensorRT-LLM (tests only).

  --tokenizer DIR        copy tokenizer.json, tokenizer_config.json and generation_config.json, where they are, from DIR
  --profile FILE         copy FILE to FOLDER/dicast-profile.json
  --script FILE          copy FILE to FOLDER/standin.script; - reads it from the standard input
  --architecture NAME    default Qwen3ForCausalLM
  --version VERSION      the release that config.json names, default 1.2.1
  --vocab-size N         default: the one in DIR/config.json, else 151936
  --max-input-len N      default 4096
  --max-seq-len N        default 6144
  --max-batch-size N     default 64
  --max-num-tokens N     default 8192
  --tp N, --pp N         ranks, default 1 and 1
  --no-paged-context     an engine without paged context attention, so without block reuse
  --gather-logits        an engine that was built to gather generation logits
  --logits-dtype TYPE    default float32
TEXT
}

fail() {
    echo "make_engine.sh: $1" >&2
    exit 2
}

tokenizer='' profile='' script='' folder=''
architecture=Qwen3ForCausalLM version=1.2.1 vocab_size=''
max_input_len=4096 max_seq_len=6144 max_batch_size=64 max_num_tokens=8192
tp=1 pp=1 paged_context=true gather=false logits_dtype=float32

while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --no-paged-context) paged_context=false; shift; continue ;;
        --gather-logits) gather=true; shift; continue ;;
        --*) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        *) [ -z "$folder" ] || fail "one FOLDER is expected, see --help"; folder=$1; shift; continue ;;
    esac
    case $1 in
        --tokenizer) tokenizer=$2 ;;
        --profile) profile=$2 ;;
        --script) script=$2 ;;
        --architecture) architecture=$2 ;;
        --version) version=$2 ;;
        --vocab-size) vocab_size=$2 ;;
        --max-input-len) max_input_len=$2 ;;
        --max-seq-len) max_seq_len=$2 ;;
        --max-batch-size) max_batch_size=$2 ;;
        --max-num-tokens) max_num_tokens=$2 ;;
        --tp) tp=$2 ;;
        --pp) pp=$2 ;;
        --logits-dtype) logits_dtype=$2 ;;
        *) fail "no such option: $1, see --help" ;;
    esac
    shift 2
done
[ -n "$folder" ] || fail "FOLDER is missing, see --help"
if [ -z "$vocab_size" ] && [ -e "$tokenizer/config.json" ]; then
    vocab_size=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$tokenizer/config.json")
fi
vocab_size=${vocab_size:-151936}
for number in "$vocab_size" "$max_input_len" "$max_seq_len" "$max_batch_size" "$max_num_tokens" "$tp" "$pp"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "a number above 0 is expected, not $number"
done

mkdir -p "$folder"
ranks=$((tp * pp))
cat >"$folder/config.json" <<JSON
{
    "version": "$version",
    "pretrained_config": {
        "architecture": "$architecture",
        "dtype": "bfloat16",
        "logits_dtype": "$logits_dtype",
        "vocab_size": $vocab_size,
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_size": 128,
        "max_position_embeddings": 40960,
        "mapping": {
            "world_size": $ranks,
            "gpus_per_node": 8,
            "cp_size": 1,
            "tp_size": $tp,
            "pp_size": $pp,
            "moe_tp_size": $tp,
            "moe_ep_size": 1
        },
        "quantization": {
            "quant_algo": null,
            "kv_cache_quant_algo": null
        },
        "runtime_defaults": null
    },
    "build_config": {
        "max_input_len": $max_input_len,
        "max_seq_len": $max_seq_len,
        "opt_batch_size": 8,
        "max_batch_size": $max_batch_size,
        "max_beam_width": 1,
        "max_num_tokens": $max_num_tokens,
        "opt_num_tokens": $max_batch_size,
        "kv_cache_type": "PAGED",
        "gather_context_logits": false,
        "gather_generation_logits": $gather,
        "strongly_typed": true,
        "plugin_config": {
            "dtype": "bfloat16",
            "gpt_attention_plugin": "auto",
            "gemm_plugin": "auto",
            "context_fmha": true,
            "paged_kv_cache": true,
            "remove_input_padding": true,
            "tokens_per_block": 32,
            "use_paged_context_fmha": $paged_context
        }
    }
}
JSON
for ((rank = 0; rank < ranks; rank++)); do
    printf 'dicast trtllm stand-in engine, rank %d of %d: for tests only, holds no weights\n' "$rank" "$ranks" \
        >"$folder/rank$rank.engine"
done
if [ -n "$tokenizer" ]; then
    [ -e "$tokenizer/tokenizer.json" ] || fail "no tokenizer.json in $tokenizer"
    for file in tokenizer.json tokenizer_config.json generation_config.json chat_template.jinja; do
        if [ -e "$tokenizer/$file" ]; then
            cp "$tokenizer/$file" "$folder/"
        fi
    done
fi
[ -z "$profile" ] || cp "$profile" "$folder/dicast-profile.json"
case $script in
    '') ;;
    -) cat >"$folder/standin.script" ;;
    *) cp "$script" "$folder/standin.script" ;;
esac
