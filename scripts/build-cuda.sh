#!/usr/bin/env bash
# Builds adapt for NVIDIA GPUs, and what checks it there: scripts/build-cuda.sh [FOLDER] makes the folder and FOLDER.tar.xz.
# Nothing of CUDA is needed to build: the program loads NVIDIA's libraries when it uses them. ONNX Runtime is, for the logits
# that are compared there; and strip and xz. The embedded model is left out: gpu-check.sh takes the one of the repository.
# FEATURE=cuda-emulated builds what runs without a GPU, for `gpu-check.sh --smoke`; CARGO is the command that builds, with
# its options; with LIMIT_MIB an archive that is larger is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/gpu}
features=(--no-default-features --features "${FEATURE:-cuda}")
read -ra cargo <<< "${CARGO:-cargo}"
read -ra options <<< "${CARGO_OPTIONS:-}"
mkdir -p "$out"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# build WHAT...: then `built` knows where cargo put it.
build() {
    "${cargo[@]}" "$@" --release "${options[@]}" "${features[@]}" --message-format json-render-diagnostics > "$log"
}

# built PATTERN NAME: the executable, without symbols, into the folder.
built() {
    local made
    made=$(grep -o "\"executable\":\"[^\"]*/$1\"" "$log" | tail -1 | cut -d'"' -f4)
    strip -o "$out/$2" "$made"
}

build build --bin adapt --example train_step --example zoo_logits
built adapt adapt
built 'examples/train_step' train_step
built 'examples/zoo_logits' zoo_logits
# The tests of programs on a GPU are among those of graphs.
build test --no-run --test graph
built 'graph-[^"/]*' graph-tests
cp scripts/gpu-check.sh scripts/gpu_speed.py "$out/"
rm -rf "$out/fashion" "$out/zoo"
cp -r fixtures/fashion "$out/fashion"
mkdir "$out/zoo"
cp fixtures/zoo/*.onnx "$out/zoo/"
"$out/zoo_logits" "$out/zoo" "$out/goldens.safetensors" --write
# The programs have much in common, farther apart than the usual window reaches.
tar -C "$(dirname "$out")" -c "$(basename "$out")" | xz --x86 --lzma2=preset=6,dict=128MiB > "$out.tar.xz"
bytes=$(wc -c < "$out.tar.xz")
echo "$out.tar.xz has $(((bytes + 1048575) >> 20)) MiB ($bytes bytes)"
if [ -n "${LIMIT_MIB:-}" ] && [ "$bytes" -gt $((LIMIT_MIB << 20)) ]; then
    echo "it is larger than LIMIT_MIB, $LIMIT_MIB MiB" >&2
    exit 1
fi
