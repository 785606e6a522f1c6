#!/usr/bin/env bash
# Checks adapt on a machine with an NVIDIA GPU: gpu-check.sh [--smoke] [PART...], of the parts
#   operators  operators and the embedded model forwards and backwards, losses and optimizers, against the CPU
#   zoo        logits of the zoo's models against ONNX Runtime's, which travelled along, and gradients against the CPU's
#   train      --train head, last:1 and all, end to end, and in TF32 and bfloat16
#   speed      images a second and memory of training steps and forward passes, beside PyTorch's where there is PyTorch
#   profile    the time of a training step by operator
# all of them where none is named. It needs what build-cuda.sh made, beside itself, and NVIDIA's libraries: those that
# PyTorch brings are found where its Python is. Prints a table, and ends with 0 when all of it holds. With --smoke each part
# does little, and speed is not judged: to see without a GPU, with FEATURE=cuda-emulated, that this script works.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
smoke=""
[ "${1:-}" = --smoke ] && { smoke=1; shift; }
[ $# -gt 0 ] || set -- operators zoo train speed profile
python=${PYTHON:-python3}
libraries=$("$python" -c '
import glob, os, sys
print(":".join(lib for path in sys.path for lib in sorted(glob.glob(os.path.join(path, "nvidia", "*", "lib")))))' 2> /dev/null)
export LD_LIBRARY_PATH="${libraries}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export ADAPT_CACHE=off
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
threads=$(nproc)
models=(tv_resnet18_script tv_resnet50_static tv_mobilenet_v2_script timm_efficientnet_lite0_script)
[ -z "$smoke" ] || models=(tv_mobilenet_v2_script)
wrong=0
table=""

note() {
    table+=$(printf '%-28s %-8s %5s s' "$@")$'\n'
}

# check NAME COMMAND...: what it printed is shown where it failed, and where SHOW is set.
check() {
    local name=$1 start=$SECONDS outcome=ok
    shift
    "$@" > "$work/log" 2>&1 || outcome=FAILED
    # Without a GPU the tests do nothing, and say so.
    grep -q "SKIPPED" "$work/log" && outcome=SKIPPED
    [ "$outcome" = ok ] || wrong=1
    if [ "$outcome" != ok ] || [ -n "${SHOW:-}" ]; then
        printf -- '--- %s\n' "$name"
        cat "$work/log"
    fi
    note "$name" "$outcome" $((SECONDS - start))
}

operators() {
    check "operators and models" "$here/graph-tests" "device::${smoke:+losses}" --nocapture --test-threads 1
}

zoo() {
    SHOW=1 check "zoo" "$here/zoo_logits" "$here/zoo" "$here/goldens.safetensors" --device cuda --gradients \
        ${smoke:+--only tv_squeezenet}
}

# run NAME ARGUMENTS...: a run that must have been on the GPU.
run() {
    local name=$1 out="$work/run"
    shift
    rm -rf "$out"
    check "$name" "$here/adapt" --data "$work/data" --device cuda --offline --out "$out" "$@"
    [ -f "$out/run.json" ] || return
    grep -q '"device": "cuda:0"' "$out/run.json" || { wrong=1; table+="$name did not run on the GPU"$'\n'; }
}

train() {
    local few=(--epochs 2)
    cp -r "$here/fashion" "$work/data"
    if [ -n "$smoke" ]; then
        few=(--steps 1 --batch-size 4 --probe off --augment none)
        # Two classes with six images each, and none to test.
        rm -rf "$work/data" && mkdir -p "$work/data"
        for class in bag sandal; do
            mkdir "$work/data/$class"
            find "$here/fashion/train/$class" -name '*.png' | sort | head -n 6 | xargs cp -t "$work/data/$class"
        done
    fi
    run "--train head" --train head
    run "--train last:1" --train last:1 "${few[@]}"
    run "--train all" --train all "${few[@]}"
    run "--train all --tf32 on" --train all --tf32 on "${few[@]}"
    run "--train all --amp bf16" --train all --amp bf16 "${few[@]}"
}

speed() {
    local few=()
    [ -z "$smoke" ] || few=(--smoke --batch 1 --steps 1 --together 1 --models "${models[0]}" --precisions bf16)
    if ! "$python" -c 'import torch' 2> /dev/null; then
        note "speed: there is no PyTorch" SKIPPED 0
        for precision in f32 tf32 bf16; do
            [ -z "$smoke" ] || [ $precision = bf16 ] || continue
            SHOW=1 check "speed in $precision" step "$precision" "${models[@]}"
        done
        return
    fi
    SHOW=1 check "speed" "$python" "$here/gpu_speed.py" "$here" "${few[@]}"
}

# step PRECISION MODEL...
step() {
    local precision=$1 size=(--batch 64 --together 10) model
    shift
    [ -z "$smoke" ] || size=(--batch 1 --steps 1)
    for model; do
        "$here/train_step" "$here/zoo/$model.onnx" --device cuda --threads "$threads" --precision "$precision" \
            "${size[@]}" ${PROFILE:+--profile} || return
    done
}

profile() {
    for precision in tf32 bf16; do
        PROFILE=1 SHOW=1 check "profile in $precision" step "$precision" "${models[@]}"
        [ -z "$smoke" ] || return 0
    done
}

"$here/adapt" runtime status
for part; do
    case $part in
        operators | zoo | train | speed | profile) "$part" ;;
        *) echo "there is no part $part" >&2 && exit 2 ;;
    esac
done
printf '\n%s' "$table"
exit $wrong
