#!/usr/bin/env bash
# Builds adapt for NVIDIA GPUs, and what checks it there, into one folder: scripts/build-cuda.sh [FOLDER]. Nothing of CUDA is
# needed to build: the program loads NVIDIA's libraries when it uses them. On the GPU machine run gpu-check.sh of that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/gpu}
mkdir -p "$out"
cargo build --release --features cuda
# The tests of programs on a GPU are among those of graphs.
cargo test --release --features cuda --no-run --test graph --message-format json > "$out/build.json"
tests=$(grep -o '"executable":"[^"]*/graph-[^"]*"' "$out/build.json" | tail -1 | cut -d'"' -f4)
rm "$out/build.json"
cp target/release/adapt scripts/gpu-check.sh "$out/"
cp "$tests" "$out/graph-tests"
rm -rf "$out/fashion"
cp -r fixtures/fashion "$out/fashion"
du -sh "$out"
