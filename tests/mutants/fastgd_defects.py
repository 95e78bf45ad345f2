"""Defects of the package around the kernels: the verifier, `solve`, and all between `fit` and a
kernel."""

from __future__ import annotations

from tests.mutants.defect import Defect

OMIT = ("tests/fit/test_omit.py",)
MEMORY = ("tests/promises/test_memory.py",)
SOLVE = ("tests/fit/test_solving.py", "tests/fit/test_solving_company.py")
RULES = ("tests/fit/test_rules.py",)
CALLERS = ("tests/promises/test_callers_settings.py",)
MISSING = ("tests/fit/test_missing_data.py", "tests/input/test_missing.py", "tests/input/test_reading.py")
VERIFICATION = "fastgd/verification"
STANDARDIZE = "tests/fit/test_standardize.py"
UNITS = f"{STANDARDIZE}::test_every_row_is_reported_in_the_callers_units"
STANDARDIZING, COMPANY = "fastgd/running/standardizing.py", "tests/fit/test_standardize_company.py"

FASTGD_DEFECTS = (
    Defect(
        "schedule: off by one epoch",
        "fastgd/schedules/table.py",
        "islice(walk, int(begin), int(begin) + epochs)",
        "islice(walk, int(begin) + 1, int(begin) + 1 + epochs)",
        ("tests/fit/test_schedules.py",),
    ),
    Defect(
        "schedule: stepped before the optimizer, not after",
        "kernels/reference/torch_autograd.py",
        "elif begins and place > 0:",
        "elif begins:",
        ("tests/fit/test_schedules.py",),
    ),
    Defect(
        "schedule: begins anew with each call",
        "fastgd/running/chunks.py",
        "job.schedule.table(which, lr, steps, epochs)",
        "job.schedule.table(which, lr, 0 * steps, epochs)",
        ("tests/fit/test_schedules.py",),
    ),
    Defect(
        "schedule: a closed form in place of torch's recurrence",
        "fastgd/schedules/decays.py",
        "        return group.lr * self.gamma\n\n    def _again",
        "        return base * self.gamma**t\n\n    def _again",
        ("tests/schedules/test_rates.py",),
    ),
    Defect(
        "fastgd verify: status 0 where only a part was judged",
        "fastgd/cli/commands.py",
        'if candidate and report.outcome != "agrees":',
        'if candidate and report.outcome not in ("agrees", "agrees in part"):',
        ("tests/cli/test_verify.py",),
    ),
    Defect(
        "fastgd verify: an archive may unpack to anything",
        "fastgd/cli/verify.py",
        "    if declared > limit:",
        "    if declared > 2**60:",
        ("tests/cli/test_verify.py",),
    ),
    Defect("auto by all samples", "fastgd/running/chunks.py", "chunk.n_used <= 2 *", "problem.n_samples + 0 * chunk.n_used <= 2 *", OMIT),
    Defect(
        "a kernel that is loaded in a worker thread",
        "fastgd/running/cpu.py",
        "if problem.may_lose_samples or not plan.needs_moments else",
        "if problem.may_lose_samples else",
        ("tests/kernels/cpu/test_compile_ahead.py::test_no_kernel_is_compiled_or_loaded_in_a_worker_thread",),
    ),
    Defect("a group kept while the next is made", "fastgd/running/cpu.py", "        del group, descend  #", "        #", MEMORY),
    Defect("lists of samples not counted", "fastgd/planning/memory.py", "lists = 16 *", "lists = 0 *", MEMORY),
    Defect("gaps of another fit", "fastgd/running/moments.py", "places + n_rows)", "places)", OMIT),
    Defect(
        "a mask dropped", "fastgd/input/reading.py", "        hidden = np.ma.getmask(array)\n", "        hidden = np.ma.nomask\n", MISSING
    ),
    Defect(
        "a mask behind __array__ dropped",
        "fastgd/input/reading.py",
        "array = np.asanyarray(value)\n",
        "array = np.asarray(value)\n",
        MISSING[2:],
    ),
    Defect(
        "the mask of one of many fits for all",
        "fastgd/input/shapes.py",
        "for array in arrays) for axis",
        "for array in arrays[:1]) for axis",
        MISSING,
    ),
    Defect(
        "nodata compared after conversion",
        "fastgd/data/items.py",
        "self._at(where, rows), self.nodata)",
        "self._at(where, rows).astype(self.dtype), tuple(map(self.dtype.type, self.nodata)))",
        MISSING,
    ),
    Defect(
        "nodata of another dtype",
        "fastgd/input/missing.py",
        "stored = (rounding or dtype.type)(number)",
        "stored = np.float64(number)",
        MISSING,
    ),
    Defect(
        "nodata that is remembered away",
        "fastgd/planning/call_cache.py",
        " and not (problem.X.may_miss or problem.y.may_miss)",
        "",
        MISSING,
    ),
    Defect("one sample is a line", "fastgd/data/problem.py", 'if nan_policy == "omit" else 1', "if False else 1", MISSING),
    Defect(
        "ridge of 1/n by LAPACK",
        "fastgd/running/minimisers.py",
        "np.sqrt(0.5 * decay)",
        "np.sqrt(1.0 * decay)",
        SOLVE,
    ),
    Defect("rank by another tolerance", "fastgd/running/svd.py", "2.0**-52", "2.0**-30", SOLVE),
    Defect("minimum norm of scaled columns", "fastgd/running/svd.py", "again = few & ", "again = False & few & ", SOLVE),
    Defect(
        "not said to be ill-conditioned",
        "fastgd/running/least_squares.py",
        "most_condition(problem.dtype)) | (rank < problem.n_parameters)",
        "most_condition(problem.dtype))",
        SOLVE,
    ),
    Defect(
        "condition in other units",
        "fastgd/running/svd.py",
        "own, penalised = _exponents(X), ",
        "own, penalised = _exponents(X) * 0, ",
        SOLVE,
    ),
    Defect(
        "the shift not undone in the intercept",
        STANDARDIZING,
        "offset -= w * own_center[..., j]",
        "offset -= w * 0.0",
        (UNITS,),
    ),
    Defect(
        "scale not applied to w0",
        STANDARDIZING,
        "w[:, j] *= scale[:, j]",
        "w[:, j] *= 1.0",
        (f"{STANDARDIZE}::test_the_start_is_given_in_the_callers_units",),
    ),
    Defect(
        "w0 shifts no intercept",
        STANDARDIZING,
        "w[:, d] += w[:, j] *",
        "w[:, d] += 0.0 * w[:, j] *",
        (f"{STANDARDIZE}::test_the_start_is_given_in_the_callers_units",),
    ),
    Defect(
        "a history in the units of the descent",
        STANDARDIZING,
        "    unscale(chunk.history_w, center, scale, chunk.intercept)\n",
        "",
        (UNITS,),
    ),
    Defect("doubtful moments are used", STANDARDIZING, "chunk.algorithm[standard.doubtful[gram_index]] = STREAM", "pass", (STANDARDIZE,)),
    Defect("a state gets another center", STANDARDIZING, "    if state is None:\n", "    if True:\n", (COMPANY,)),
    Defect("Gram records standardised twice", STANDARDIZING, "if in_other_groups and", "if False and", (COMPANY,)),
    Defect(
        "solve: w of the scaled features",
        "fastgd/running/least_squares.py",
        'write_unscaled(arrays["w"], arrays["center"], arrays["scale"], problem.intercept, arrays["w_out"])',
        'arrays["w_out"][:] = arrays["w"]',
        ("tests/fit/test_standardize_solve.py",),
    ),
    Defect(
        "solve: doubtful moments are used",
        "fastgd/running/minimisers.py",
        "enough &= ~group.standard.doubtful[group.gram_index[pairs]]",
        "pass",
        ("tests/fit/test_standardize_solve.py",),
    ),
    Defect(
        "solve: LAPACK gets features as they are",
        "fastgd/running/minimisers.py",
        "samples, pairs[left], decay",
        "group.samples, pairs[left], decay",
        ("tests/fit/test_standardize_solve.py",),
    ),
    Defect("shared X with one center", STANDARDIZING, "if all(np.array_equal(", "if True or all(np.array_equal(", (COMPANY,)),
    Defect(
        "products lost between fits",
        "fastgd/planning/start.py",
        "(state.products, 1)",
        "(np.ones(state.products.shape[-1]), 1)",
        RULES,
    ),
    Defect(
        "fits that were not made are told",
        "fastgd/results/distances.py",
        "        return ~np.isin(self.status, (INVALID_DATA, TOO_FEW_SAMPLES))",
        "        return np.ones(len(self.status), bool)",
        ("tests/results/test_summary.py",),
    ),
    Defect(
        "a figure of notebooks that is not pyplot's",
        "fastgd/results/figure.py",
        " or _in_ipython()",
        "",
        ("tests/promises/test_notebook.py",),
    ),
    Defect(
        "what a notebook's backend sets is undone",
        "fastgd/results/figure.py",
        "figure = pyplot.figure(**options)",
        "with rc_context(_STYLE):\n            figure = pyplot.figure(**options)",
        ("tests/promises/test_notebook.py",),
    ),
    Defect(
        "an output over the state of other fits",
        "fastgd/results/buffers.py",
        "and not (in_place and same_place(array, taken))",
        "and not in_place",
        ("tests/results/test_buffers.py",),
    ),
    Defect(
        "arrays within an argument are overwritten",
        "fastgd/input/arguments.py",
        """            if not isinstance(entry, int | float):
""",
        """            if False:
""",
        ("tests/results/test_buffers.py", "tests/input/test_arguments.py"),
    ),
    Defect(
        "the data of an error kept while its place is looked for",
        "fastgd/data/faults.py",
        "limit is None else min(",
        "limit is not False else min(",
        ("tests/promises/test_memory.py",),
    ),
    Defect(
        "a pipe is waited for",
        "fastgd/results/file_format.py",
        'flags | getattr(os, "O_NONBLOCK", 0)',
        "flags",
        ("tests/results/test_loading.py::test_only_ordinary_files_are_read",),
    ),
    Defect("HTML is not escaped", "fastgd/results/table.py", "{html.escape(text)}", "{text}", ("tests/results/test_table.py",)),
    Defect(
        "a user's name is not escaped",
        "fastgd/input/messages.py",
        '"backslashreplace").decode("ascii")',
        '"ignore").decode("ascii")',
        ("tests/promises/test_any_encoding.py",),
    ),
    Defect(
        "the error of a full disk names no file",
        "fastgd/results/replacing.py",
        "error.filename, error.filename2 = str(target), None",
        "error.filename2 = None",
        ("tests/results/test_replacing.py",),
    ),
    Defect(
        "a new file does not take the place of the old one",
        "fastgd/results/replacing.py",
        "        os.replace(temporary, target)\n        folder",
        "        folder",
        ("tests/results/test_replacing.py",),
    ),
    Defect(
        "a report is written in place",
        "fastgd/results/replacing.py",
        "    if Path(path).exists() and not Path(path).is_file():",
        "    if Path(path).exists():",
        ("tests/results/test_replacing.py", "tests/campaign/test_kills.py"),
    ),
    Defect(
        "a line that cannot be printed stops the call",
        "kernels/telling.py",
        "except (OSError, ValueError):",
        "except ZeroDivisionError:",
        ("tests/kernels/test_telling.py",),
    ),
    Defect(
        "a status prints its code",
        "fastgd/results/status.py",
        "        return self.name\n",
        "        return str(int(self))\n",
        ("tests/results/test_status.py",),
    ),
    Defect(
        "floating-point mode: that of x87 is not looked at",
        "fastgd/input/float_mode.py",
        ", (0, 0x0F3F, 0x033F)),",
        ",),",
        CALLERS,
    ),
    Defect(
        "floating-point mode: ours stays after a call",
        "fastgd/input/float_mode.py",
        "    try:\n        _write(_default_beside(mode))\n        return function(*args)\n    finally:\n        _write(mode)",
        "    _write(_default_beside(mode))\n    return function(*args)",
        CALLERS,
    ),
    Defect("errstate: the caller's is heard", "fastgd/input/float_mode.py", "        variable.set(value)", "        pass", CALLERS),
    Defect(
        "torch descends beside OpenMP threads that flush",
        "fastgd/planning/plan.py",
        "backend.takes_device_data or code == AUTOGRAD",
        "backend.takes_device_data",
        CALLERS,
    ),
    Defect(
        "a candidate that exits is not noticed",
        f"{VERIFICATION}/candidates/tasks.py",
        "error is None or isinstance(error, KeyboardInterrupt)",
        "not isinstance(error, Exception)",
        ("tests/verification/candidates/test_functions.py",),
    ),
    Defect(
        "how the process of a candidate ends does not matter",
        f"{VERIFICATION}/candidates/file_candidate.py",
        " or _failure_at_end(process)",
        "",
        ("tests/verification/candidates/test_file_candidate.py",),
    ),
    Defect(
        "a .csv with decimal commas is read",
        "fastgd/cli/csv_file.py",
        "if len(fields) != len(names):",
        "if len(fields) < len(names):",
        ("tests/cli/test_csv_file.py",),
    ),
    Defect(
        "1_0 in a .csv is 10",
        "fastgd/cli/csv_file.py",
        'b"0123456789eE',
        'b"_0123456789eE',
        ("tests/cli/test_csv_file.py",),
    ),
    Defect(
        "momenta of a state that goes on are an epoch late",
        "fastgd/schedules/table.py",
        "islice(follow(self.schedules[schedule], 1.0), begin, begin + epochs)]",
        "islice(follow(self.schedules[schedule], 1.0), max(begin - 1, 0), begin + epochs)][:epochs]",
        (
            "tests/fit/test_momentum_cycles.py::test_the_arbiters_bits",
            "tests/fit/test_momentum_cycles.py::test_a_state_goes_on_in_mid_schedule_and_a_fit_is_the_same_alone",
        ),
    ),
)
