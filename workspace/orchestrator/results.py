"""The files that an experiment leaves: result, figure and tables, in the work folder and on MLflow's parent run."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from workspace.figures import comparison_figure, sweep_figure
from workspace.files import write_atomically, write_json
from workspace.gap import Gap
from workspace.journal import JournalReader, latest
from workspace.orchestrator.comparison import ComparisonReport
from workspace.orchestrator.details import details_table, picture_lines
from workspace.orchestrator.plan import Job
from workspace.orchestrator.report import Report, divergence_lines, selection_line
from workspace.search import Study
from workspace.tracking import Publication, Tracker


def write_results(
    folder: Path, report: Report, curves: pd.DataFrame, tracker: Tracker, studies: Sequence[Study]
) -> Path:
    """Writes the result, its figure and the tables of trials, and publishes them; returns the figure's path.

    Args:
        folder: of this experiment under these conditions.
        curves: of the arms, from :func:`ap_curves`.
        studies: of the candidate, and of the baseline where that was searched too.
    """
    names = ("trials.csv", "baseline_trials.csv")
    tables = {name: trials_table(study) for name, study in itertools.zip_longest(names[: len(studies) or 1], studies)}
    figure = sweep_figure(
        title=report.sentences[-1],
        gaps=report.gaps,
        arms={name: arm.ap for name, arm in report.arms.items()},
        curves=curves,
        trials=tables["trials.csv"],
        **_searched(report),
    )
    return _publish(
        folder,
        tracker,
        content=report.to_json(),
        draw=partial(figure.savefig, format="png", dpi=120),
        tables={**tables, "details.csv": details_table(report.details)},
        metrics={f"gap/{name}": gap.mean for name, gap in report.gaps.items()},
        tags={f"verdict.{name}": gap.verdict for name, gap in report.gaps.items()},
        sentences=[
            *report.sentences,
            *map(selection_line, report.selections.values()),
            *picture_lines(report.details),
            *divergence_lines(report.diverged),
        ],
    )


def _searched(report: Report) -> dict[str, Any]:
    """What the figure shows of a diagnosed search beside its trials."""
    if report.found is None:
        return {}
    return {
        "baseline_on_search": statistics.fmean(report.found.reference),
        "default_trial": report.found.default,
    }


def write_comparison(folder: Path, report: ComparisonReport, tracker: Tracker) -> Path:
    """Writes the result, its figure and the table of contrasts, and publishes them; returns the figure's path.

    Args:
        folder: of this comparison under these conditions.
    """
    figure = comparison_figure(
        title=report.title,
        contrasts=report.contrasts,
        published={name: row.difference for name, row in report.published.items()},
        arms={name: arm.ap for name, arm in report.arms.items() if arm.ap},
        precisions={name: arm.precision for name, arm in report.arms.items()},
    )
    gaps = {name: found for name, found in report.contrasts.items() if isinstance(found, Gap)}
    return _publish(
        folder,
        tracker,
        content=report.to_json(),
        draw=partial(figure.savefig, format="png", dpi=120),
        tables={"table.csv": pd.DataFrame(report.rows()), "details.csv": details_table(report.details)},
        metrics={f"contrast/{name}": found.mean for name, found in report.contrasts.items()},
        tags={f"verdict.{name}": gap.verdict for name, gap in gaps.items()},
        sentences=[*report.sentences, *picture_lines(report.details), *divergence_lines(report.diverged)],
    )


def _publish(
    folder: Path,
    tracker: Tracker,
    *,
    content: Mapping[str, Any],
    draw: Callable[[Path], object],
    tables: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    sentences: Sequence[str],
) -> Path:
    """Writes an experiment's files and shows them on its parent run; returns the figure's path."""
    folder.mkdir(parents=True, exist_ok=True)
    files = (folder / "result.json", folder / "figure.png", *(folder / name for name in tables))
    write_json(files[0], content)
    write_atomically(files[1], draw)
    for name, rows in tables.items():
        write_atomically(folder / name, partial(rows.to_csv, index=False))
    summary = "\n\n".join(sentences)
    tracker.publish(Publication(metrics=metrics, tags=tags, summary=summary, files=files))
    return files[1]


def ap_curves(arms: Mapping[str, Sequence[Job]], folders: Mapping[str, Path]) -> pd.DataFrame:
    """AP in points while training: columns ``arm``, ``seed``, ``step``, ``value``.

    Args:
        arms: runs by arm.
        folders: by signature.
    """
    rows = [
        (name, job.spec.seed, event["step"], 100 * event["metrics"][job.metric])
        for name, jobs in arms.items()
        for job in jobs
        for event in latest(JournalReader(folders[job.spec.signature]).read())
        if event["kind"] == "eval"
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "value"])


def trials_table(study: Study | None) -> pd.DataFrame:
    """The study's trials: ``number``, ``state``, ``value`` (AP in points, of the search split) and each parameter.

    What is only planned to be tried, as all is where a proposal closed the gap before the search, is left out.
    """
    rows = [] if study is None else [row for row in study.trials() if row.state != "waiting"]
    return pd.DataFrame(
        [{"number": t.number, "state": t.state, "value": t.value, **t.labels} for t in rows],
        columns=None if rows else ["number", "state", "value"],
    ).sort_values("number")
