#!/usr/bin/env bash
# Everything that needs a GPU, in one command, within 9 minutes: tests, golden values, compute-sanitizer, benchmarks.
#
#     bash benchmarks/gpu_check.sh        # results: $OUT, or benchmarks/results/ where OUT is not set
#
# 1. For a machine with a GPU and without a network: the system's python3 has numpy, numba, torch, cupy and pytest. This checkout is
#    installed offline into a folder of its own; nothing else of the machine is changed.
# 2. Every step runs, whatever became of those before; the last line says which failed, and the exit code is their number. A missing GPU fails.
# 3. NOT RUN ON A GPU YET.
set -uo pipefail
cd "$(dirname "$0")/.."
RESULTS="${OUT:-benchmarks/results}"
PYTHON="${PYTHON:-python3}"
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$RESULTS"
RESULTS="$(cd "$RESULTS" && pwd)"
export PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR="$WORK/numba" FASTGD_CUDA_CACHE_DIR="$WORK/cuda"
failed=()

step() {  # step NAME SECONDS COMMAND…: run, keep the log, note a failure
    local name="$1" seconds="$2" began=$SECONDS
    shift 2
    echo "== $name"
    timeout "$seconds" "$@" >"$RESULTS/$name.log" 2>&1 || failed+=("$name")
    tail -n 12 "$RESULTS/$name.log"
    echo "== $name: $((SECONDS - began)) s"
}

step install 30 "$PYTHON" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$WORK/site" .
export PYTHONPATH="$WORK/site"
PYTEST=("$PYTHON" -P -m pytest -q -p no:cacheprovider -o filterwarnings=default --backends=cpu,torch,cuda)

step device 30 "$PYTHON" -P -c '
import json, sys, cupy, fastgd
from fastgd.kernels import cuda
assert cuda.why_unavailable() is None, cuda.why_unavailable()
print(json.dumps({"gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), "cupy": cupy.__version__, **cuda.report()}))'
cat >"$WORK/compile.py" <<'PYTHON_END'
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
import cupy
from fastgd.kernels.cuda import instantiations
from fastgd.kernels.cuda.compiling import compiled
if __name__ == "__main__":
    names = [(file, name) for file, names in instantiations().items() for name in names]
    architecture = f"sm_{cupy.cuda.Device().compute_capability}"
    with ProcessPoolExecutor() as pool:
        list(pool.map(compiled, *zip(*names), repeat(architecture), chunksize=4))
    print(len(names), "kernels compiled for", architecture)
PYTHON_END
step compile 40 "$PYTHON" -P "$WORK/compile.py"
step golden 40 "${PYTEST[@]}" tests/test_golden.py -k "not host_run"
step bits 80 "${PYTEST[@]}" tests/test_cuda_bits.py -k "not out_of_memory and not own_for_every_epoch and not cancelling and not 2_31"
step backends 60 "${PYTEST[@]}" tests/test_fit.py tests/test_fit_status.py tests/test_fit_options.py tests/test_omit.py -k cuda

cat >"$WORK/small.py" <<'PYTHON_END'
import cupy
cupy.cuda.set_allocator(None)  # every array on its own, so that an access beyond it is seen
from fastgd.kernels.cuda.launching import Gpu
from tests.cuda_on_host.sanitized import run_cases
print(sorted(run_cases(Gpu())))
PYTHON_END
for tool in memcheck racecheck; do
    if command -v compute-sanitizer >/dev/null; then
        PYTHONPATH="$WORK/site:$PWD" step "$tool" 50 compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" -P "$WORK/small.py"
    else
        echo "== $tool: compute-sanitizer is not installed"
        failed+=("$tool")
    fi
done

step benchmarks 140 "$PYTHON" -P benchmarks/gpu.py "$RESULTS/gpu.json" --seconds 110
echo "== ${#failed[@]} steps failed: ${failed[*]:-none}; $SECONDS s in all; results in $RESULTS"
exit "${#failed[@]}"
