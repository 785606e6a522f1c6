#!/usr/bin/env bash
# Builds adapt for NVIDIA GPUs, and what checks it there, into one folder: scripts/build-cuda.sh [FOLDER]. Nothing of CUDA is
# needed to build: the program loads NVIDIA's libraries when it uses them. ONNX Runtime is, for the logits that are compared
# there. On the GPU machine run gpu-check.sh of that folder. FEATURE=cuda-emulated builds what runs without a GPU, for
# `gpu-check.sh --smoke`; CARGO is the command that builds, with its options.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/gpu}
feature=${FEATURE:-cuda}
read -ra cargo <<< "${CARGO:-cargo}"
read -ra options <<< "${CARGO_OPTIONS:-}"
mkdir -p "$out"
"${cargo[@]}" build --release "${options[@]}" --features "$feature" --bin adapt --example train_step --example zoo_logits
# The tests of programs on a GPU are among those of graphs.
"${cargo[@]}" test --release "${options[@]}" --features "$feature" --no-run --test graph --message-format json > "$out/build.json"
tests=$(grep -o '"executable":"[^"]*/graph-[^"]*"' "$out/build.json" | tail -1 | cut -d'"' -f4)
rm "$out/build.json"
cp target/release/adapt target/release/examples/{train_step,zoo_logits} scripts/gpu-check.sh scripts/gpu_speed.py "$out/"
cp "$tests" "$out/graph-tests"
rm -rf "$out/fashion" "$out/zoo"
cp -r fixtures/fashion "$out/fashion"
mkdir "$out/zoo"
cp fixtures/zoo/*.onnx "$out/zoo/"
"$out/zoo_logits" "$out/zoo" "$out/goldens.safetensors" --write
du -sh "$out"
