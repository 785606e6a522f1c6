#!/usr/bin/env bash
# Checks adapt on a machine with an NVIDIA GPU: operators and the embedded model forwards and backwards against the CPU, then
# training end to end. It needs what build-cuda.sh made, beside itself, and NVIDIA's libraries: those that PyTorch brings are
# found where its Python is. Prints a table, and ends with 0 when all of it holds.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
libraries=$(python3 -c '
import glob, os, sys
print(":".join(lib for path in sys.path for lib in sorted(glob.glob(os.path.join(path, "nvidia", "*", "lib")))))' 2> /dev/null)
export LD_LIBRARY_PATH="${libraries}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export ADAPT_CACHE=off
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0
table=""

# check NAME COMMAND...: what it printed is shown where it failed.
check() {
    local name=$1 start=$SECONDS outcome=ok
    shift
    "$@" > "$work/log" 2>&1 || outcome=FAILED
    # Without a GPU the tests do nothing, and say so.
    grep -q "SKIPPED" "$work/log" && outcome=SKIPPED
    if [ "$outcome" != ok ]; then
        wrong=1
        cat "$work/log"
    fi
    table+=$(printf '%-28s %-8s %5d s' "$name" "$outcome" $((SECONDS - start)))$'\n'
}

train() {
    "$here/adapt" --data "$here/fashion" --device cuda --offline --out "$work/$1" --train "$1" "${@:2}"
}

"$here/adapt" runtime status
check "operators and models" "$here/graph-tests" device:: --nocapture --test-threads 1
check "--train head" train head
check "--train last:2" train last:2 --epochs 2
check "--train all" train all --epochs 2
for part in head last:2 all; do
    run="$work/$part/run.json"
    [ -f "$run" ] || continue
    grep -q '"device": "cuda:0"' "$run" || { wrong=1; table+="--train $part did not run on the GPU"$'\n'; }
done
printf '\n%s' "$table"
exit $wrong
