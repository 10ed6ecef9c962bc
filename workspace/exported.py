"""Tables that ``python -m workspace export`` and ``diagnose`` wrote, read back as a notebook needs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workspace.errors import UserError
from workspace.gap import Gap, measure_gap

TABLES = Path(__file__).resolve().parents[1] / "analysis" / "data"


@dataclass(frozen=True)
class Exported:
    """An experiment's runs and curves, columns as in `workspace.tracking.tables`."""

    runs: pd.DataFrame
    curves: pd.DataFrame

    def ap(self, *arms: str) -> dict[str, dict[int, float]]:
        """AP in points by seed, of those arms that the experiment has, in the order asked for; all without any."""
        found = {
            str(arm): dict(zip(group["seed"].astype(int), group["AP"], strict=True))
            for arm, group in self.runs.groupby("arm", sort=False)
        }
        return {arm: found[arm] for arm in arms or found if arm in found}

    def mean_ap(self, arm: str) -> float:
        """Of that arm's seeds."""
        return float(self.runs.loc[self.runs["arm"] == arm, "AP"].mean())

    def gaps(
        self, margin: float, baseline: str = "baseline", candidates: tuple[str, ...] = ("default", "tuned")
    ) -> Mapping[str, Gap]:
        """Each candidate arm's gap to the baseline, judged at that margin in AP points."""
        arms = self.ap(baseline, *candidates)
        return {arm: measure_gap(arms[baseline], ap, margin) for arm, ap in arms.items() if arm != baseline}

    def curve(self, metric: str, *arms: str) -> pd.DataFrame:
        """Points of one metric of those arms' runs, arm after arm in the order asked for: figures colour them by it."""
        chosen = self.curves[(self.curves["metric"] == metric) & self.curves["arm"].isin(arms)]
        return chosen.sort_values("arm", key=lambda column: column.map(arms.index), kind="stable")

    @property
    def trials(self) -> pd.DataFrame:
        """The full runs of the search's trials, as `workspace.figures.search_history` takes them."""
        is_trial = (self.runs["phase"] == "search") & (self.runs["arm"] == "trial")
        return self.runs[is_trial].rename(columns={"trial": "number", "AP": "value"})


def read(experiment: str, folder: Path = TABLES) -> Exported:
    """The exported tables of that experiment.

    Raises:
        UserError: they are not there.
    """
    paths = [folder / f"{experiment}.{table}.csv" for table in ("runs", "curves")]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is missing: write it with `python -m workspace export {experiment}`")
    return Exported(*(pd.read_csv(path) for path in paths))


@dataclass(frozen=True)
class Diagnosed:
    """A diagnosis' tables, columns as in `workspace.diagnosis.tables`; ``moments`` is empty where there are none."""

    diagnosis: pd.DataFrame
    causes: pd.DataFrame
    proposals: pd.DataFrame
    members: pd.DataFrame
    moments: pd.DataFrame

    @property
    def against_another_batch(self) -> float:
        """The error of the update as a share of what another batch of pictures changes."""
        return float(self.diagnosis["update"].iloc[0] / self.diagnosis["another_batch"].iloc[0])


def read_diagnosis(folder: Path) -> Diagnosed:
    """The tables that ``python -m workspace diagnose MODEL --tables FOLDER`` wrote.

    Raises:
        UserError: they are not there.
    """
    found = {name: folder / f"{name}.csv" for name in ("diagnosis", "causes", "proposals", "members", "moments")}
    for name, path in found.items():
        if name != "moments" and not path.is_file():
            raise UserError(f"{path} is missing: write it with `python -m workspace diagnose MODEL --tables {folder}`")
    return Diagnosed(**{name: pd.read_csv(path) if path.is_file() else pd.DataFrame() for name, path in found.items()})
