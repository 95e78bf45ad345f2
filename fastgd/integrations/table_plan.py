"""What fit_table() would do: the plan of a call in words, without a fit."""

from __future__ import annotations

import shutil

from ..input.messages import amount, counted
from .table_job import TableJob


def plan_of(job: TableJob) -> list[tuple[str, str]]:
    """(name, words) of each part of the plan."""
    fits, source, scan, shares = job.fits, job.source, job.scan, job.shares
    least = 2 * len(fits.features)
    n_groups, smallest, largest, n_short = source.sizes(scan.whole, least)
    policy = fits.options.get("nan_policy", "raise")
    gaps = f", {scan.n_with_gaps:,} of them lack a number ({policy})" if scan.n_with_gaps else ""
    sizes = counted(smallest, "row") if smallest == largest else f"{smallest:,} to {largest:,} rows"
    batches = f"batches of at most {shares.rows:,} rows"
    if largest > shares.rows:
        batches += f"; larger groups are compressed, {shares.rows:,} rows at a time"
    spilled = scan.n_rows * source.bytes_per_row if fits.keys else 0
    sorting = "nothing is sorted"
    if spilled:
        sorting = f"{amount(spilled)} of rows are sorted in {amount(shares.sorting)}"
        if spilled > shares.sorting:
            free = shutil.disk_usage(job.temp_folder).free
            sorting += f" and in {job.temp_folder}, where {amount(free)} are free"
    methods = fits.methods(source.dtype, min(largest, shares.rows))
    if 0 < n_short < n_groups and "moments" in methods:
        methods += f"; stream: {counted(n_short, 'group')} of at most {counted(least, 'row')}"
    return [
        ("table", source.said),
        ("rows", f"{scan.n_rows:,}{gaps}"),
        ("groups", f"{n_groups:,} of {', '.join(fits.keys)}, of {sizes}" if fits.keys else "all rows are one fit"),
        ("columns", _columns(job)),
        ("fits", f"{n_groups * len(fits.targets):,} of {counted(len(fits.features) + bool(fits.options['intercept']), 'parameter')}"),
        ("computed by", methods),
        ("memory", f"{sorting}; {batches}"),
        ("out", "none" if job.out is None else f"{job.out}{', which is replaced' if job.out.exists() else ''}"),
    ]


def _columns(job: TableJob) -> str:
    fits = job.fits
    terms = [*fits.features, *(["intercept"] if fits.options["intercept"] else [])]
    weighted = "" if fits.weights is None else f", weights {fits.weights}"
    return f"{', '.join(fits.targets)} ~ {' + '.join(terms)}{weighted} ({job.source.dtype})"
