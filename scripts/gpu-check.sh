#!/usr/bin/env bash
# Checks adapt on a machine with an NVIDIA GPU: gpu-check.sh [--smoke] [FOLDER/ | ARCHIVE.tar.xz] [PART...], of the parts
#   operators  EfficientNet-Lite0 forwards and backwards, losses, optimizers and heads against the CPU; then operators
#   speed      images a second and memory of training steps and forward passes, beside PyTorch's where there is PyTorch
#   zoo        logits of the zoo's models against ONNX Runtime's, which travelled along, and gradients against the CPU's
#   train      --train head, last:1 and all, end to end, and in TF32 and bfloat16
#   profile    the time of a training step in bfloat16 by operator, and how each convolution is computed
# all of them where none is named, and one step of training before any. It needs what build-cuda.sh made (the folder or the
# archive; else what lies beside itself), models/efficientnet_lite0 there or in a folder around it or this script, and NVIDIA's
# libraries: those that PyTorch brings are found where its Python is. Each check ends after LIMIT seconds (180), and BUDGET
# seconds after the start, where those are given; what finds no time any more is LEFT OUT. What is printed is also in
# gpu-check.log in the folder OUT, where one is given. Ends with a table, and with 0 when all of it holds. With --smoke each part does
# little, and speed is not judged: to see without a GPU, with FEATURE=cuda-emulated, that this script works.
set -uo pipefail
script=$(cd "$(dirname "$0")" && pwd)
here=$script
smoke=""
python=${PYTHON:-python3}
work=$(mktemp -d)
reader=""
trap '[ -z "$reader" ] || kill "$reader" 2> /dev/null; rm -rf "$work"' EXIT
while [ $# -gt 0 ]; do
    case $1 in
        --smoke) smoke=1 ;;
        *.tar.xz)
            [ -f "$1" ] || { echo "there is no $1" >&2 && exit 2; }
            "$python" -W ignore -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' \
                "$1" "$work/unpacked" || exit 2
            here=$(echo "$work"/unpacked/*)
            ;;
        */*) here=$(cd "$1" && pwd) || exit 2 ;;
        *) break ;;
    esac
    shift
done
[ -x "$here/graph-tests" ] || { echo "name what build-cuda.sh made: a folder/ or an archive.tar.xz" >&2 && exit 2; }
[ $# -gt 0 ] || set -- operators speed zoo train profile
libraries=$("$python" -c '
import glob, os, sys
print(":".join(lib for path in sys.path for lib in sorted(glob.glob(os.path.join(path, "nvidia", "*", "lib")))))' 2> /dev/null)
# The loader is asked for names without a version, which PyTorch's have not, but an installation of CUDA may: then cuBLAS would
# be of one and cublasLt, which is asked for with its version, of the other.
mkdir "$work/lib"
IFS=: read -ra folders <<< "$libraries"
files=()
for folder in "${folders[@]}"; do
    for name in cublas cublasLt cudnn nvrtc; do
        versions=("$folder/lib$name.so".*)
        [ ! -e "${versions[0]}" ] || [ -e "$work/lib/lib$name.so" ] || ln -s "${versions[0]}" "$work/lib/lib$name.so"
    done
    for file in "$folder"/lib{cublas,cudnn,nvrtc}*; do [ ! -f "$file" ] || files+=("$file"); done
done
# They are large, and a disk is slow the first time: no check is to wait for all of them.
[ ${#files[@]} -eq 0 ] || { cat "${files[@]}" > /dev/null & reader=$!; }
export LD_LIBRARY_PATH="$work/lib${libraries:+:$libraries}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export ADAPT_CACHE=off
mkdir -p "${OUT:-$work/logs}" || exit 2
log=$(cd "${OUT:-$work/logs}" && pwd)/gpu-check.log
threads=$(nproc)
models=(tv_resnet18_script tv_resnet50_static tv_mobilenet_v2_script timm_efficientnet_lite0_script)
precisions=(f32 tf32 bf16)
[ -z "$smoke" ] || models=(tv_mobilenet_v2_script) precisions=(bf16)
wrong=0
table=""

# Tests and runs name the model from here.
model=models/efficientnet_lite0/model.onnx
for root in "$here" "$script"; do
    until [ -f "$root/$model" ] || [ "$root" = / ]; do root=$(dirname "$root"); done
    [ "$root" = / ] || break
done
[ -f "$root/$model" ] || { echo "there is no $model in $here or $script, nor around them" >&2 && exit 2; }
cd "$root" || exit 2

# note NAME OUTCOME SECONDS
note() {
    local line
    printf -v line '%-48s %-8s %5s s' "$@"
    printf '%s\n' "$line" | tee -a "$log"
    table+=$line$'\n'
    case $2 in ok | absent) ;; *) wrong=1 ;; esac
}

# check NAME COMMAND...: what it prints is shown and kept at once, so that nothing is lost where it has to end.
check() {
    local name=$1 start=$SECONDS outcome=ok own=$work/own.log seconds=${LIMIT:-180}
    shift
    [ -z "${BUDGET:-}" ] || [ $((BUDGET - SECONDS)) -ge "$seconds" ] || seconds=$((BUDGET - SECONDS))
    if [ "$seconds" -le 0 ]; then
        note "$name" "LEFT OUT" 0
        return
    fi
    printf -- '--- %s\n' "$name" | tee -a "$log"
    timeout --kill-after 10 "$seconds" "$@" 2>&1 | tee "$own" | tee -a "$log"
    case ${PIPESTATUS[0]} in
        0) ;;
        124 | 137) outcome=TIMEOUT ;;
        *) outcome=FAILED ;;
    esac
    # Without a GPU the tests do nothing, and say so.
    [ $outcome = ok ] && grep -q SKIPPED "$own" && outcome=SKIPPED
    note "$name" $outcome $((SECONDS - start))
}

# tests NAME ARGUMENTS...
tests() {
    local name=$1
    shift
    check "$name" "$here/graph-tests" "$@" --nocapture --test-threads 1
}

# Apart, since what fails on the device may fail all that its process does behind.
operators() {
    tests "models, losses, optimizers, heads" "device::${smoke:+losses}" --skip every_operator --skip the_kernels_compile
    [ -z "$smoke" ] || return 0
    tests "operators" device::every_operator
    tests "operators in bfloat16" device::halves::every_operator
}

zoo() {
    check zoo "$here/zoo_logits" "$here/zoo" "$here/goldens.safetensors" --device cuda --gradients \
        ${smoke:+--only tv_squeezenet}
}

# run NAME ARGUMENTS...: a run that must have been on the GPU.
run() {
    local name=$1 out="$work/run"
    shift
    rm -rf "$out"
    check "$name" "$here/adapt" --data "$work/data" --onnx "$model" --device cuda --offline --out "$out" "$@"
    [ -f "$out/run.json" ] || return
    grep -q '"device": "cuda:0"' "$out/run.json" || note "$name: not on the GPU" FAILED 0
    # ONNX Runtime is the judge, or tract where there is none; candle's program would be compared with itself.
    grep -q '"engine": "candle"' "$out/run.json" && note "$name: proved by itself" FAILED 0
    return 0
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
    [ -z "$smoke" ] || few=(--smoke --batch 1 --steps 1 --together 1)
    local beside="" model precision
    "$python" -c 'import torch' 2> /dev/null && beside=1
    [ -n "$beside" ] || note "PyTorch, to compare speed with" absent 0
    for model in "${models[@]}"; do
        if [ -n "$beside" ]; then
            check "speed $model" "$python" "$here/gpu_speed.py" "$here" --models "$model" \
                --precisions "$(IFS=, && echo "${precisions[*]}")" "${few[@]}"
            continue
        fi
        for precision in "${precisions[@]}"; do
            step "speed $model $precision" "$model" "$precision"
        done
    done
}

# step NAME MODEL PRECISION ARGUMENTS...
step() {
    local name=$1 model=$2 precision=$3 size=(--batch 64 --together 10)
    shift 3
    [ -z "$smoke" ] || size=(--batch 1 --steps 1)
    check "$name" "$here/train_step" "$here/zoo/$model.onnx" --device cuda --threads "$threads" \
        --precision "$precision" "${size[@]}" "$@"
}

profile() {
    local model
    for model in "${models[@]}"; do
        step "profile $model bf16" "$model" bf16 --profile
    done
}

timeout 60 "$here/adapt" runtime status 2>&1 | tee -a "$log"
# What is wrong everywhere is seen at once; and the kernels are compiled and kept, for which nobody waits any more.
check "a step" "$here/train_step" "$here/zoo/tv_mobilenet_v2_script.onnx" --device cuda --threads "$threads" \
    --precision bf16 --batch $([ -n "$smoke" ] && echo 1 || echo 64) --steps 1
for part; do
    case $part in
        operators | speed | zoo | train | profile) "$part" ;;
        *) echo "there is no part $part" >&2 && exit 2 ;;
    esac
done
printf '\n%s' "$table"
exit $wrong
