#!/usr/bin/env bash
# Everything that needs a GPU, in one command, within 9 minutes: golden values, arrays on the device, tests, compute-sanitizer, benchmarks.
#
#     bash benchmarks/gpu_check.sh        # results: $OUT, or benchmarks/results/ where OUT is not set: gpu.json and gpu_check.log
#
# 1. For a machine with a GPU and without a network: the system's python3 has NumPy, CuPy, torch; for all steps also Numba, pytest and
#    compute-sanitizer. The first step says what is missing. This checkout is installed offline into a folder of its own; nothing else of
#    the machine is changed.
# 2. Every step runs, whatever became of those before; what cannot run because something is missing counts as failed. The last line says
#    which failed, and the exit code is their number. A missing GPU fails.
# 3. What is worth most comes first: golden values, arrays, benchmarks. Steps for which no time is left count as failed.
# 4. NOT RUN ON A GPU YET; tried with a stand-in for CuPy (DIVIDE and TORCH_DEVICE are for that).
set -uo pipefail
cd "$(dirname "$0")/.."
RESULTS="${OUT:-benchmarks/results}"
PYTHON="${PYTHON:-python3}"
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$RESULTS"
RESULTS="$(cd "$RESULTS" && pwd)"
LOG="$RESULTS/gpu_check.log"
: >"$LOG"
LIMIT=530  # seconds in all
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$WORK/numba}" FASTGD_CUDA_CACHE_DIR="${FASTGD_CUDA_CACHE_DIR:-$WORK/cuda}"
MORE="${PYTHONPATH:+:$PYTHONPATH}"
failed=()

step() {  # step NAME SECONDS COMMAND…: run, keep the log, note a failure
    local name="$1" seconds="$2" began=$SECONDS verdict=fine
    shift 2
    if ((SECONDS > LIMIT - 5)); then
        missing "$name" "no time was left"
        return
    fi
    ((seconds > LIMIT - SECONDS)) && seconds=$((LIMIT - SECONDS))
    echo "== $name"
    timeout "$seconds" "$@" >"$WORK/log" 2>&1 || { verdict="FAILED ($?)"; failed+=("$name"); }
    { echo "== $name"; cat "$WORK/log"; echo "== $name: $verdict"; } >>"$LOG"
    tail -n 12 "$WORK/log"
    echo "== $name: $verdict, $((SECONDS - began)) s"
}

missing() {  # missing NAME WHAT: a step that cannot run
    echo "== $1: not run: $2" | tee -a "$LOG"
    failed+=("$1")
}

has() { "$PYTHON" -P -c "import $1" >/dev/null 2>&1; }

cat >"$WORK/requirements.py" <<'PYTHON_END'
import importlib, platform
print("Python", platform.python_version())
needed = {"numpy": "", "cupy": "", "torch": "", "setuptools": "", "pytest": "", "numba": ""}
for name in needed:
    try:
        found = importlib.import_module(name)
        print(f"{name} {found.__version__}")
    except Exception as error:
        needed[name] = f"{name} CANNOT BE IMPORTED: {type(error).__name__}: {error}"
        print(needed[name])
raise SystemExit(any(needed.values()))
PYTHON_END
step requirements 60 "$PYTHON" -P "$WORK/requirements.py"

cat >"$WORK/install.sh" <<'SHELL_END'
"$1" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$2/site" . && exit
echo "pip could not install the checkout: it is copied, as it would have been installed"
rm -rf "$2/site" && mkdir -p "$2/site" && cp -r fastgd "$2/site/fastgd" && cp -r kernels "$2/site/fastgd/kernels"
SHELL_END
step install 40 bash "$WORK/install.sh" "$PYTHON" "$WORK"
export PYTHONPATH="$WORK/site:$PWD$MORE"

if has numba; then  # the CPU kernels take their time to compile: meanwhile
    for dtype in float32 float64; do
        timeout 120 "$PYTHON" -P -c "import numpy; from fastgd.kernels.cpu import compile_ahead; compile_ahead.compile_fit(numpy.dtype('$dtype'))" >>"$WORK/numba.log" 2>&1 &
    done
fi

step device 30 "$PYTHON" -P -c '
import json, cupy, fastgd
from fastgd.kernels import cuda
assert cuda.why_unavailable() is None, cuda.why_unavailable()
from fastgd.kernels.cuda.device import device_name
print(json.dumps({"fastgd": fastgd.__file__, "gpu": device_name(), "cupy": cupy.__version__, **cuda.report()}))'
cat >"$WORK/compile.py" <<'PYTHON_END'
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from fastgd.kernels.cuda import instantiations
from fastgd.kernels.cuda.compiling import compiled
if __name__ == "__main__":
    import cupy
    names = [(file, name) for file, names in instantiations().items() for name in names]
    architecture, began = f"sm_{cupy.cuda.Device().compute_capability}", time.perf_counter()
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(compiled, *zip(*names), repeat(architecture), chunksize=4))
    print(f"{len(names)} kernels compiled for {architecture} in {time.perf_counter() - began:.1f} s")
PYTHON_END
step compile "${COMPILE_SECONDS:-40}" "$PYTHON" -P "$WORK/compile.py"
step golden 40 "$PYTHON" -P -m tests.specification.golden_values --check cuda
step arrays 30 "$PYTHON" -P -m tests.kernels.cuda.arrays_on_gpu

wait
[ -s "$WORK/numba.log" ] && tail -n 3 "$WORK/numba.log"
step benchmarks 150 "$PYTHON" benchmarks/gpu.py "$RESULTS/gpu.json" --seconds 110 --divide "${DIVIDE:-1}" --torch-device "${TORCH_DEVICE:-cuda}"

PYTEST=("$PYTHON" -P -m pytest -q -p no:cacheprovider -o filterwarnings=default --backends=cpu,torch,cuda)
if ! has pytest; then
    missing bits "pytest is not there"
elif ! has numba; then
    step bits-without-the-cpu 100 "${PYTEST[@]}" tests/kernels/cuda/test_bits.py -k "arbiter or overflow_to_the_end"
    missing bits "Numba is not there, and with it the CPU backend that the kernels are compared with"
else
    step bits 100 "${PYTEST[@]}" tests/kernels/cuda/test_bits.py -k "not out_of_memory and not own_for_every_epoch and not cancelling and not 2_31"
    step least-and-standardize 60 "${PYTEST[@]}" tests/kernels/cuda/test_least.py tests/kernels/cuda/test_standardize.py -k "the_cpus or share_their_data"
fi

cat >"$WORK/small.py" <<'PYTHON_END'
import cupy
if hasattr(cupy.cuda, "set_allocator"):
    cupy.cuda.set_allocator(None)  # every array on its own, so that an access beyond it is seen
from fastgd.kernels.cuda.launching import Gpu
from tests.cuda_on_host.sanitized import run_cases
print(sorted(run_cases(Gpu())))
PYTHON_END
for tool in memcheck racecheck; do
    if command -v compute-sanitizer >/dev/null; then
        step "$tool" 40 compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" -P "$WORK/small.py"
    else
        missing "$tool" "compute-sanitizer is not installed"
    fi
done

if has pytest && has numba; then
    step backends 50 "${PYTEST[@]}" tests/fit/test_shapes.py tests/fit/test_rows.py tests/fit/test_status.py tests/fit/test_safe_rate.py tests/fit/test_omit.py -k cuda
else
    missing backends "pytest or Numba is not there"
fi

echo "== ${#failed[@]} steps failed: ${failed[*]:-none}; $SECONDS s in all; results in $RESULTS" | tee -a "$LOG"
exit "${#failed[@]}"
