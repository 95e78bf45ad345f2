"""fit_table(): fits of groups of rows of a table in files, by names of columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..input.float_mode import computes
from ..input.wrong_names import helps_with_keywords
from ..results.table_result import TableResult
from .table_job import planned


@helps_with_keywords
@computes
def fit_table(
    table: Any,
    *,
    y: str | Sequence[str],
    x: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    weights: str | None = None,
    intercept: bool = True,
    solve: bool = False,
    long: bool = False,
    out: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    temp_folder: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Any = None,
    **fit_options: Any,
) -> TableResult:
    r"""Fit the groups of a table in files, which may be larger than memory.

    ::

        y ~ x (+ intercept), for the rows of each group

    Each group has the bits of `fit` with its rows alone, in the order in which the files have them.
    DuckDB sorts the rows by their keys, on disk where they do not fit into memory; groups go
    through the kernels batch by batch, and their results to a file.

    Parameters
    ----------
    table : path, list of paths, or DuckDB relation
        .csv or Parquet files, by their paths or a pattern such as ``data/*.parquet``; or a folder,
        of which all are read. Folders named ``month=1`` are a column, as Hive has them. Files may
        have their columns in any order. The table is read twice: once to be checked.
    y : str, or several
        The column of the targets. Of several each is fitted: the result has a column ``y`` with its
        name, and a row for each.
    x : str, or several
        The columns of the features.
    by : str, or several, optional
        The columns whose equal values make a group. Missing ones are equal, and a group like any
        other. None: all rows are one fit.
    weights : str, optional
        The column of the sample weights, ≥ 0.
    intercept : bool, default True
        Whether to fit an intercept.
    solve : bool, default False
        In closed form, by `fastgd.solve`, instead of by descent.
    long : bool, default False
        A row for each coefficient, as in `fit_frame`.
    out : path, optional
        The file of the results, .parquet or .csv. A file that is there is replaced once the new one
        is whole; whatever happens before, it stays. None: the results are ``result.table``.
    threads : int, optional
        Number of threads. None: as many as this process may use.
    memory_limit : int or str, optional
        Bytes that the call may take, DuckDB included: a number, or a text such as "2 GiB"; at least
        128 MiB. None: 80 % of the free memory.
    temp_folder : path, optional
        Where rows are sorted that do not fit into memory; it needs room for the columns that are
        read, uncompressed. None: the folder of ``out``, or the system's for temporary files.
    checkpoint : path, optional
        A folder where results of finished batches are stored, once a second. After a kill, a power
        cut or Ctrl-C the same call sorts the table again, and fits what is missing: what it writes
        is the same, byte for byte; with another memory_limit its fits are. A call with another
        table or other options is refused, with the difference.
    progress : bool or callable, optional
        None: a progress bar on a terminal when the work takes over a second. True: always. False:
        never. A function is called with (done, total), both in rows.
    **fit_options
        Further options of `fit` (of `solve` where solve=True), as in `fit_frame`; each has one
        value, for all groups.

    Returns
    -------
    TableResult
        How many rows and groups there are, how many fits have each status, and ``table``, a
        pyarrow.Table with the columns of `fit_frame`; None where ``out`` is given. Its rows have
        the order of the keys, missing ones last.

    Raises
    ------
    ImportError
        When DuckDB, pyarrow or narwhals is not installed: ``pip install 'fastgd[tables]'``.
    ValueError, TypeError, OSError
        When an argument or a file is wrong: the message names it. A number that is missing is an
        error that counts the rows, unless ``nan_policy="omit"``; both come before any fit.
    MemoryError
        When the memory limit is too small.

    See Also
    --------
    fit_frame : The same for a data frame in memory.

    Notes
    -----
    In a .csv file the first line names the columns, one of , ; and tab separates them, and a number
    that is missing is empty or one of NA, N/A, NaN, null, none, - and ?. A key that is a whole
    number in every row is one (007 is not); other keys are text.

    A group that fits into no batch is compressed part by part, and fitted from its `Moments`: the
    bits are those of ``algorithm="moments"``. With several y that lack different rows its parts are
    not cut where those of the whole are, and the bits are those of other cuts. What needs all
    samples at a time (mini-batches, ``algorithm="stream"``, covariances HC0 to HC3, over 256
    features unless ``algorithm="moments"``) takes batches as large as memory allows.

    Examples
    --------
    >>> import fastgd, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "flights.csv"
    >>> _ = path.write_text("tail,x,y\nb,1,1\na,1,3\na,2,5\nb,2,0\na,3,7\n")
    >>> fits = fastgd.fit_table(path, y="y", x="x", by="tail", solve=True)
    >>> fits
    TableResult(5 rows; 2 groups; 2 COMPLETED)
    >>> fits.table.select(["tail", "n_used"]).to_pylist()
    [{'tail': 'a', 'n_used': 3}, {'tail': 'b', 'n_used': 2}]
    >>> folder.cleanup()
    """
    given = {"y": y, "x": x, "by": by, "weights": weights, "intercept": intercept, "solve": solve, "long": long}
    places = {"out": out, "temp_folder": temp_folder, "checkpoint": checkpoint}
    with planned(table, given, fit_options, places, threads=threads, memory_limit=memory_limit, progress=progress) as job:
        return job.run()
