#!/usr/bin/env bash
# Builds the TensorRT-LLM engine of a Qwen3 judge: Hugging Face folder -> checkpoint -> engine folder, which `dicast`
# opens. docs/tensorrt-llm.md gives the cost of each choice.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: build_engine.sh [options] MODEL_DIR ENGINE_DIR

Run it in the container nvcr.io/nvidia/tensorrt-llm/release:1.2.1 (1.0 to 1.2.1 work too), on a machine with the same
kind of GPU as the one that will run the engine: an engine runs only on the architecture that it was built on.

  MODEL_DIR     the Hugging Face folder of the judge: config.json, *.safetensors, tokenizer.json, …
  ENGINE_DIR    where the engine goes; must not contain one yet

  --precision bf16|fp8      default bf16; fp8 quantizes weights and KV cache and needs a GPU of Ada, Hopper or later
  --tp N                    GPUs that share the model (tensor parallelism): 1, 2 or 4; default 1
  --max-input-len N         longest prompt in tokens, default 16384
  --max-seq-len N           longest prompt with its answer, default 20480
  --max-batch-size N        judgments computed together, default 64
  --max-num-tokens N        tokens computed in one step, default 8192
  --calibration DIR         data set for the calibration of fp8: a folder, or a name that the container can fetch;
                            default cnn_dailymail
  --calibration-size N      samples of it, default 512
  --profile FILE            the judge's profile, put beside the engine; a wheel or .py file is read with
                            `dicast profile import`. Default: dicast-profile.json in MODEL_DIR, if it exists
  --dicast PROGRAM          the dicast program for that, default dicast
  --examples DIR            the vendor's examples, default $TRTLLM_EXAMPLES, else /app/tensorrt_llm/examples
  --checkpoint-dir DIR      keep the checkpoint there; default: a temporary folder, removed at the end
  --dry-run                 print the commands and run none
  --help                    this text
TEXT
}

fail() {
    echo "build_engine.sh: $1" >&2
    exit 2
}

precision=bf16 tp=1
max_input_len=16384 max_seq_len=20480 max_batch_size=64 max_num_tokens=8192
calibration=cnn_dailymail calibration_size=512
profile='' dicast=dicast examples=${TRTLLM_EXAMPLES:-/app/tensorrt_llm/examples} checkpoint='' dry_run=false
folders=()

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --dry-run) dry_run=true; shift; continue ;;
        --precision | --tp | --max-input-len | --max-seq-len | --max-batch-size | --max-num-tokens | --calibration | \
            --calibration-size | --profile | --dicast | --examples | --checkpoint-dir)
            [ $# -ge 2 ] || fail "$1 needs a value"
            ;;
        -*) fail "unknown option $1 (see --help)" ;;
        *) folders+=("$1"); shift; continue ;;
    esac
    case $1 in
        --precision) precision=$2 ;;
        --tp) tp=$2 ;;
        --max-input-len) max_input_len=$2 ;;
        --max-seq-len) max_seq_len=$2 ;;
        --max-batch-size) max_batch_size=$2 ;;
        --max-num-tokens) max_num_tokens=$2 ;;
        --calibration) calibration=$2 ;;
        --calibration-size) calibration_size=$2 ;;
        --profile) profile=$2 ;;
        --dicast) dicast=$2 ;;
        --examples) examples=$2 ;;
        --checkpoint-dir) checkpoint=$2 ;;
    esac
    shift 2
done

[ ${#folders[@]} -eq 2 ] || fail "give MODEL_DIR and ENGINE_DIR (see --help)"
model=${folders[0]} engine=${folders[1]}
case $precision in bf16 | fp8) ;; *) fail "--precision must be bf16 or fp8, not $precision" ;; esac
case $tp in 1 | 2 | 4) ;; *) fail "--tp must be 1, 2 or 4, not $tp" ;; esac
for number in "$max_input_len" "$max_seq_len" "$max_batch_size" "$max_num_tokens" "$calibration_size"; do
    [[ $number =~ ^[1-9][0-9]{0,8}$ ]] || fail "a size must be a whole number above 0, not $number"
done
[ "$max_input_len" -lt "$max_seq_len" ] ||
    fail "--max-seq-len ($max_seq_len) must exceed --max-input-len ($max_input_len): the answer needs room"

[ -d "$model" ] || fail "there is no folder $model"
for file in config.json tokenizer.json tokenizer_config.json; do
    [ -e "$model/$file" ] || fail "$model has no $file: give the whole Hugging Face folder"
done
grep -q '"Qwen3ForCausalLM"' "$model/config.json" ||
    fail "$model/config.json does not name Qwen3ForCausalLM: this script builds only dense Qwen3 models such as RewardAnything-8B-v1"
[ ! -e "$engine/config.json" ] || fail "$engine already contains an engine: name another folder, or remove it"
if [ -z "$profile" ] && [ -e "$model/dicast-profile.json" ]; then
    profile=$model/dicast-profile.json
fi
[ -z "$profile" ] || [ -e "$profile" ] || fail "there is no profile $profile"

if ! $dry_run; then
    command -v trtllm-build >/dev/null ||
        fail "trtllm-build is missing: run this inside nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
    nvidia-smi -L >/dev/null 2>&1 ||
        fail "no GPU found: start the container with --gpus all"
    release=$(python3 -c 'import importlib.metadata as m; print(m.version("tensorrt_llm"))' 2>/dev/null || true)
    case $release in
        1.0 | 1.0.* | 1.1 | 1.1.* | 1.2.0 | 1.2.0.* | 1.2.1 | 1.2.1.*) ;;
        *) fail "TensorRT-LLM ${release:-(unknown)} is installed; dicast needs an engine built by 1.0 to 1.2.1" ;;
    esac
    case $profile in
        *.whl | *.py) command -v "$dicast" >/dev/null || fail "$dicast is missing: name the program with --dicast" ;;
    esac
fi
if [ "$precision" = bf16 ]; then
    converter=$examples/models/core/qwen/convert_checkpoint.py
else
    converter=$examples/quantization/quantize.py
fi
$dry_run || [ -e "$converter" ] || fail "there is no $converter: name the vendor's examples with --examples"

# run COMMAND...: prints the command, and runs it unless this is a dry run.
run() {
    printf '+'
    printf ' %q' "$@"
    printf '\n'
    $dry_run || "$@"
}

made_checkpoint=''
if [ -z "$checkpoint" ]; then
    if $dry_run; then
        checkpoint=CHECKPOINT
    else
        checkpoint=$(mktemp -d)
        made_checkpoint=$checkpoint
        trap 'rm -rf "$made_checkpoint"' EXIT
    fi
fi

if [ "$precision" = bf16 ]; then
    run python3 "$converter" --model_dir "$model" --output_dir "$checkpoint" --dtype bfloat16 --tp_size "$tp"
else
    run python3 "$converter" --model_dir "$model" --output_dir "$checkpoint" --dtype bfloat16 --tp_size "$tp" \
        --qformat fp8 --kv_cache_dtype fp8 --calib_dataset "$calibration" --calib_size "$calibration_size"
fi

build=(trtllm-build --checkpoint_dir "$checkpoint" --output_dir "$engine"
    --max_batch_size "$max_batch_size" --max_input_len "$max_input_len" --max_seq_len "$max_seq_len"
    --max_num_tokens "$max_num_tokens" --max_beam_width 1
    --gpt_attention_plugin auto --gemm_plugin auto --remove_input_padding enable
    # Prompts with the same beginning share blocks of the KV cache; that needs attention over paged context.
    --kv_cache_type paged --use_paged_context_fmha enable
    # Grammars mask these logits and score distributions are read from them: single precision.
    --logits_dtype float32)
if [ "$precision" = fp8 ]; then
    # Paged context attention on an FP8 cache must compute in FP8 too.
    build+=(--use_fp8_context_fmha enable)
fi
if [ "$tp" -gt 1 ]; then
    build+=(--workers "$tp")
fi
run "${build[@]}"

for file in tokenizer.json tokenizer_config.json generation_config.json chat_template.jinja; do
    if [ -e "$model/$file" ]; then
        run cp "$model/$file" "$engine/$file"
    fi
done
case $profile in
    '') echo "build_engine.sh: no profile given: dicast will use its built-in profile" >&2 ;;
    *.whl | *.py) run "$dicast" profile import --output "$engine/dicast-profile.json" "$profile" ;;
    *) run cp "$profile" "$engine/dicast-profile.json" ;;
esac
run ls -l "$engine"
