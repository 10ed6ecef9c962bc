"""The files that an experiment leaves: result, figure and tables, in the work folder and on MLflow's parent run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workspace.figures import sweep_figure
from workspace.files import write_atomically, write_json
from workspace.journal import JournalReader, latest
from workspace.orchestrator.report import Report
from workspace.search import Study
from workspace.spec import RunSpec
from workspace.tracking import Publication, Tracker


@dataclass(frozen=True)
class Results:
    """Where an experiment's files are."""

    json: Path
    figure: Path
    trials: Path


def write_results(
    folder: Path, report: Report, specs: Mapping[str, list[tuple[RunSpec, Path]]], tracker: Tracker, study: Study | None
) -> Results:
    """Writes the result, its figure and the table of trials, and publishes them.

    Args:
        folder: of this experiment at this scale, data set and kind of device.
        specs: each arm's runs with their folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / "result.json", folder / "figure.png", folder / "trials.csv")
    trials = trials_table(study)
    figure = sweep_figure(
        title=report.sentences[-1],
        gaps=report.gaps,
        arms={name: arm.ap for name, arm in report.arms.items()},
        curves=ap_curves(specs, report.metric),
        trials=trials,
    )
    write_atomically(results.figure, lambda path: figure.savefig(path, format="png", dpi=120))
    write_atomically(results.trials, lambda path: trials.to_csv(path, index=False))
    write_json(results.json, report.to_json())
    tracker.publish(
        Publication(
            metrics={f"gap/{name}": gap.mean for name, gap in report.gaps.items()},
            tags={f"verdict.{name}": gap.verdict for name, gap in report.gaps.items()},
            summary="\n\n".join(report.sentences),
            files=(results.json, results.figure, results.trials),
        )
    )
    return results


def ap_curves(specs: Mapping[str, list[tuple[RunSpec, Path]]], metric: str) -> pd.DataFrame:
    """AP in points while training: columns ``arm``, ``seed``, ``step``, ``value``."""
    rows = [
        (arm, spec.seed, event["step"], 100 * event["metrics"][metric])
        for arm, runs in specs.items()
        for spec, folder in runs
        for event in latest(JournalReader(folder).read())
        if event["kind"] == "eval"
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "step", "value"])


def trials_table(study: Study | None) -> pd.DataFrame:
    """The study's trials: ``number``, ``state``, ``value`` (AP in points, of the search split) and each parameter."""
    rows = [] if study is None else study.trials()
    return pd.DataFrame(
        [{"number": t.number, "state": t.state, "value": t.value, **t.labels} for t in rows],
        columns=None if rows else ["number", "state", "value"],
    ).sort_values("number")
