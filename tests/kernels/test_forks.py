"""Forks beside threads that import, compile, or are in LAPACK: no child hangs, and none is made in
the middle of it.

One process does all of it, since a fork belongs to a process that has no other threads.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fastgd.kernels import forks
from tests.campaign.interrupts import Tracer
from tests.support.new_processes import run_python

SCRIPT = """
import json, os, random, signal, sys, threading, time, warnings
import numpy as np
import fastgd
from fastgd.kernels import forks
from fastgd.planning import plan

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 says so of every fork beside threads
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
rng = np.random.default_rng(0)
X, y = rng.standard_normal((40, 50, 3)), np.ones((40, 50))
wide = rng.standard_normal((150, 140))

def child_of(work):
    '''What a child writes that does this work, or "hangs".'''
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, repr(work()).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    return child, read, time.monotonic() + 60

def answer_of(child, read, last):
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > last:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.005)
    with os.fdopen(read) as pipe:
        return pipe.read()

def beside(work, seconds=0.15):
    '''A thread that does work(until), which has begun.'''
    begun = threading.Event()
    thread = threading.Thread(target=work, args=(begun, seconds), daemon=True)
    thread.start()
    begun.wait()
    return thread

def fit(**options):
    return fastgd.fit(X, y, lr=0.1, epochs=9, **options).w.tobytes()

def solve():
    return fastgd.solve(X[:3], y[:3]).w.tobytes()

found = {}

# -- an import
with open(os.path.join(sys.argv[1], "narwhals.py"), "w") as file:
    file.write("import time; time.sleep(0.15); complete = True")
def importing(begun, seconds):
    threading.Timer(0.05, begun.set).start()
    import narwhals
beside(importing)
found["import"] = answer_of(*child_of(lambda: __import__("narwhals").complete))

# -- a first fit; the child's is the first in it
first = beside(lambda begun, seconds: (begun.set(), fit()))
found["first fit"] = answer_of(*child_of(lambda: len(fit())))
first.join()

# -- compilers
from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock
def holding(lock):
    def work(begun, seconds):
        with lock:
            begun.set()
            time.sleep(seconds)
    return work
for name, lock in (("numba", global_compiler_lock), ("llvm", ffi.lib._lock)):
    beside(holding(lock))
    found[name] = answer_of(*child_of(lambda: lock.__enter__()))

# -- LAPACK: the fork waits for what has begun, and lets none begin
def in_lapack(begun, seconds):
    holding(forks.lapack_lock())(begun, seconds)
    ended.append(seconds)
ended = []
thread = beside(in_lapack)
child = child_of(lambda: forks.lapack_lock().acquire())
found["lapack has ended"] = ended == [0.15]
found["lapack"] = answer_of(*child)
with forks.lapack_lock(), forks.lapack_lock():
    found["own lapack"] = answer_of(*child_of(lambda: forks.lapack_lock()._is_owned()))

# -- given up
forks.LONGEST = 0.1
thread = beside(holding(global_compiler_lock), 0.5)
child = child_of(lambda: global_compiler_lock.acquire())
found["before the lock is free"] = thread.is_alive()
found["given up"] = answer_of(*child)
thread.join()
thread = beside(in_lapack, 0.5)
found["given up, lapack"] = answer_of(*child_of(lambda: forks.lapack_lock().acquire()))
thread.join()

# -- two imports that fork, in two threads
forks.LONGEST = 60.0
begin, children = threading.Barrier(2), []
for name in ("mpmath", "jinja2"):
    with open(os.path.join(sys.argv[1], f"{name}.py"), "w") as file:
        file.write("import __main__ as m; m.begin.wait(); m.children.append(m.child_of(lambda: 7))")
began, both = time.monotonic(), [threading.Thread(target=__import__, args=(name,)) for name in ("mpmath", "jinja2")]
for thread in both:
    thread.start()
for thread in both:
    thread.join()
found["imports that fork"] = [[answer_of(*child) for child in children], time.monotonic() - began < forks.LONGEST]

# -- Ctrl-C
forks.LONGEST, forks.STEP = 100.0, 0.3  # STEP after the fork it is heard: the answer of os.fork is stored by then
over = threading.Event()
def until_over(begun, seconds):
    with global_compiler_lock:
        begun.set()
        over.wait()
thread = beside(until_over)
try:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    child = child_of(lambda: global_compiler_lock.acquire())
    time.sleep(10)
    found["ctrl-c"] = "lost"
except KeyboardInterrupt:
    found["ctrl-c"] = "heard"
forks.STEP = 0.01
found["after ctrl-c"] = answer_of(*child)
def are_free():
    free = []
    def look():
        for lock in (forks._gate, *forks._lapack.values(), *forks._locks()):
            free.append(lock.acquire(timeout=0.01) and not lock.release())
    other = threading.Thread(target=look)
    other.start()
    other.join()
    return all(free) and len(free) > 3 and not forks._forking and signal.getsignal(signal.SIGINT) is signal.default_int_handler
over.set()
thread.join()
found["locks are free"] = are_free()

# -- a handler of a signal that forks while this thread waits to fork
thread = beside(holding(global_compiler_lock), 0.5)
inner = []
signal.signal(signal.SIGALRM, lambda *given: inner.append(child_of(lambda: global_compiler_lock.acquire())))
signal.setitimer(signal.ITIMER_REAL, 0.2)
outer = child_of(lambda: global_compiler_lock.acquire())
found["in a handler"] = [[answer_of(*child) for child in (*inner, outer)], are_free()]

# -- a child that stays in the call
plan.INLINE_NS = 0
def forking(done, total):
    if os.getpid() == parent and 0 < done < total and not inside:  # in the midst of the work of threads
        inside.append(os.fork())
parent, inside, read_write = os.getpid(), [], os.pipe()
try:
    fastgd.fit(X, y, lr=1e-9, epochs=400_000, threads=2, progress=forking)
    said = "complete"
except RuntimeError as error:
    said = str(error)
if os.getpid() != parent:
    os.write(read_write[1], said.encode())
    os._exit(0)
os.close(read_write[1])
found["inside of a call"] = [said, answer_of(inside[0], read_write[0], time.monotonic() + 60)]

print(json.dumps(found))
os._exit(0)
"""

STORM = """
exec(sys.argv[2].partition("found = {}")[0])
plan.INLINE_NS = 0
works = [lambda: fit(threads=3), lambda: fit(threads=2, optimizer="adam"), solve, lambda: fastgd.solve(wide, wide[:, 0]).w.tobytes()]
want = [work() for work in works]
stop = False
def busy(begun, number):
    begun.set()
    while not stop:
        works[number]()
for number in (0, 2, 3):
    beside(busy, number)
wrong, random = [], random.Random(0)
for turn in range(4):
    time.sleep(random.random() / 50)
    number = turn % 4
    answer = answer_of(*child_of(works[number]))
    if answer != repr(want[number]):
        wrong.append((number, answer[:200]))
stop = True
print(json.dumps(wrong))
os._exit(0)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    done = run_python(SCRIPT, str(tmp_path_factory.mktemp("modules")), timeout=180, PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "compiling CPU kernels" not in line] == []
    return json.loads(done.stdout)


def test_a_child_is_made_when_nobody_imports_or_compiles(found):
    assert found["import"] == "True"
    assert found["first fit"] == str(40 * 3 * 8)
    assert (found["numba"], found["llvm"]) == ("None", "None")


def test_no_child_is_made_inside_of_lapack(found):
    assert found["lapack has ended"]
    assert found["lapack"] == "True"
    assert found["own lapack"] == "True"


def test_a_fork_that_waited_too_long_goes_on_with_new_locks(found):
    assert found["before the lock is free"]
    assert (found["given up"], found["given up, lapack"]) == ("None", "True")


def test_ctrl_c_ends_the_wait_of_a_fork(found):
    assert found["ctrl-c"] == "heard"
    assert found["after ctrl-c"] == "None"
    assert found["locks are free"]


def test_a_handler_that_forks_during_a_fork_waits_for_nothing(found):
    assert found["in a handler"] == [["None", "None"], True]


def test_two_imports_that_fork_do_not_wait_for_each_other(found):
    assert found["imports that fork"] == [["7", "7"], True]


@pytest.mark.parametrize("first", [True, False])
def test_ctrl_c_leaves_no_lock_of_lapack_held(first):
    """At each moment at which CPython looks for signals; first: in the first call of a thread."""
    forks.lapack(int)()
    for number in range(1000):
        if first:
            forks._lapack.clear()
        tracer = Tracer(number)
        sys.settrace(tracer)
        try:
            forks.lapack(int)()
            break
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert not forks._gate._is_owned(), tracer.place
        assert not any(lock._is_owned() for lock in forks._lapack.values()), tracer.place
    assert number > 3


def test_a_generator_holds_the_lock_of_lapack_while_it_runs():
    @forks.lapack
    def numbers():
        for number in range(2):
            yield number, forks.lapack_lock()._is_owned()

    found = numbers()
    for number in range(2):
        assert next(found) == (number, True)
        assert not forks.lapack_lock()._is_owned()
    assert list(found) == []


def test_a_child_that_stays_in_the_call_of_its_parent_is_told(found):
    parent, child = found["inside of a call"]
    assert parent == "complete"
    assert "this process was forked inside of a call of fastgd" in child


def test_children_of_a_busy_parent_give_its_bits(tmp_path):
    done = run_python("import sys\n" + STORM, str(tmp_path), SCRIPT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_subinterpreter_is_refused_in_words():
    script = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    run = interpreters.exec
else:
    import _xxsubinterpreters as interpreters
    run = interpreters.run_string
run(interpreters.create(), "try:\\n    import fastgd\\nexcept ImportError as error:\\n    print(error, flush=True)")
"""
    done = run_python(script)
    assert done.stdout.startswith("fastgd runs in the main interpreter of a process, and this is a subinterpreter"), done.stderr


def test_results_do_not_depend_on_how_python_was_started():
    script = """
import sys, numpy as np, fastgd
X = np.random.default_rng(0).standard_normal((50, 3))
y = X @ [1.0, 2, 3]
print(fastgd.fit(X, y, lr=0.1, epochs=9).w.tobytes().hex(), fastgd.solve(X, y).w.tobytes().hex())
print(fastgd.verify("cpu", X, y, lr=0.1, epochs=5), file=sys.stdout)
"""
    want = run_python(script)
    assert want.stdout.count("\n") == 2, want.stderr
    done = subprocess.run([sys.executable, *["-I", "-OO", "-bb", "-W", "error", "-X", "dev", "-X", "frozen_modules=off", "-c"], script],
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert (done.stdout, done.stderr) == (want.stdout, want.stderr)


def test_no_lock_of_the_process_but_those_that_forks_wait_for():
    """A lock of a module that another thread held at a fork would stay locked in the child."""
    root = Path(forks.__file__).parent.parent
    files = [file for folder in (root / "kernels", root / "fastgd") for file in folder.rglob("*.py")]
    assert len(files) > 200
    found = []
    for file in files:
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                found += [file.name for call in ast.walk(statement.value) if isinstance(call, ast.Call) and _makes_a_lock(call)]
    assert found == ["forks.py"]  # _gate


def _makes_a_lock(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return name in ("Lock", "RLock", "Condition", "Semaphore", "Event", "allocate_lock", "Queue")
