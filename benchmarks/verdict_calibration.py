"""How often the verdict rule errs, and how often it decides: ``docs/statistics.md`` quotes these tables.

    python benchmarks/verdict_calibration.py --csv benchmarks/results/verdict_calibration.csv \
        > benchmarks/results/verdict_calibration.md

Each cell is 10,000 simulated studies from one fixed seed; normal spread over seeds; AP in points. Takes two minutes.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sequential_designs import designs
from simulated_effects import INTERACTION, MAIN_EFFECT, effect_over_looks, main_effect

from workspace.gap import (
    LOOKS,
    Rates,
    measure_gap,
    proposed_rates,
    searched_rates,
    sequential_rates,
    verdict_rates,
)
from workspace.gap.contrast import BASELINE_TO_CANDIDATE, Contrast, contrast, welch_error
from workspace.gap.verdict import judge

STUDIES = 10_000
SEEDS = (2, 3, 4, 5, 6, 8, 10)
SDS = ((0.5, 0.5), (1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (0.2, 1.0))
CORRELATIONS = (-0.3, 0.0, 0.3, 0.6, 0.9)
FOUR_SDS = ((1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, help="write the tables here too, a row for each cell")
    csv_file = parser.parse_args().csv
    print("# Calibration of the verdict\n")
    print(
        "Made by `python benchmarks/verdict_calibration.py`. Shares in percent of 10,000 simulated studies, so that an"
    )
    print("error rate of 5 % is read to within 0.4 points (95 %). Columns: seeds an arm, the same seeds in both.\n")
    fixed_seeds()
    added_seeds()
    after_a_search()
    proposed_and_tuned()
    promised_power()
    if csv_file is not None:
        with csv_file.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["table", "cell", "column", "value"])
            writer.writerows(CELLS)


def fixed_seeds() -> None:
    settings = [(sds, correlation) for sds in SDS for correlation in CORRELATIONS]
    at_margin = {setting: [simulate(-1, 1, *setting, seeds=seeds) for seeds in SEEDS] for setting in settings}
    no_gap = {setting: [simulate(0, 1, *setting, seeds=seeds) for seeds in SEEDS] for setting in settings}

    def print_table(shares: dict[tuple[tuple[float, float], float], list[float]]) -> None:
        table(
            ["sd baseline, candidate", "correlation"],
            [([f"{sds[0]}, {sds[1]}", f"{correlation}"], row) for (sds, correlation), row in shares.items()],
        )

    heading("Errors: *closed* at a true gap of -1 AP, on the margin of 1 AP")
    print_table({setting: [rates.closed for rates in row] for setting, row in at_margin.items()})
    heading("Errors: *open* at the same gap")
    print_table({setting: [rates.open for rates in row] for setting, row in at_margin.items()})
    heading("Power: *closed* at a true gap of 0 AP, margin 1 AP")
    print_table({setting: [rates.closed for rates in row] for setting, row in no_gap.items()})
    heading("Share of studies judged by pairs")
    print_table({setting: [rates.paired for rates in row] for setting, row in no_gap.items()})

    heading("AP rounded to 0.1, as MMDetection rounds it: *closed* at a true gap of -0.2 AP, margin 0.2 AP")
    table(
        ["sd of both arms"],
        [
            ([f"{sd}"], [simulate(-0.2, 0.2, (sd, sd), 0.0, seeds=seeds, resolution=0.1).closed for seeds in SEEDS])
            for sd in (0.06, 0.14, 0.25)
        ],
    )
    heading("Looking twice: *closed* at a true gap of -1 AP, margin 1 AP, sd 1 AP")
    looks = [two_looks(seeds) for seeds in SEEDS]
    table(
        ["judged"],
        [
            (["once"], [once for once, _ in looks]),
            (["again on twice the seeds, where undecided"], [either for _, either in looks]),
        ],
    )
    heading("Main effect of a 2x2 design: the interval lies above the truth")
    table(
        ["sds of the arms", "correlation, within"],
        [
            (
                [", ".join(map(str, sds)), f"{rho}, {within}"],
                [main_effect(sds, rho, seeds, within, STUDIES) for seeds in SEEDS],
            )
            for sds in FOUR_SDS
            for rho in (0.0, 0.3, 0.6)
            for within in ("all", "sign")
        ],
    )


def simulate(
    gap: float,
    margin: float,
    sds: tuple[float, float],
    correlation: float,
    *,
    seeds: int,
    resolution: float | None = None,
) -> Rates:
    return verdict_rates(
        gap=gap,
        margin=margin,
        sds=sds,
        seeds=seeds,
        correlation=correlation,
        studies=STUDIES,
        rng=np.random.default_rng(0),
        resolution=resolution,
    )


def two_looks(seeds: int) -> tuple[float, float]:
    """Share of *closed* at the first look, and at the first or the second."""
    rng = np.random.default_rng(0)
    baseline = rng.normal(50, 1, (STUDIES, 2 * seeds))
    candidate = rng.normal(49, 1, (STUDIES, 2 * seeds))

    def judged(n: int) -> NDArray[np.str_]:
        arms = baseline[:, :n], candidate[:, :n]
        return judge(*contrast(arms, BASELINE_TO_CANDIDATE, same_seeds=True).interval(), margin=1)

    first, second = judged(seeds), judged(2 * seeds)
    either = (first == "closed") | ((first == "undecided") & (second == "closed"))
    return float((first == "closed").mean()), float(either.mean())


def added_seeds() -> None:
    """The sequential verdict: its errors, and its power beside that of other designs."""
    looks = [look for look in LOOKS if look <= 24]
    cells = {
        (sds, rho): sequential_rates(
            gap=-1, margin=1, sds=sds, correlation=rho, most=LOOKS[-1], studies=STUDIES, rng=np.random.default_rng(0)
        )
        for sds in (*SDS[1:], (1e-9, 1.0))
        for rho in CORRELATIONS
    }
    for verdict in ("closed", "open"):
        heading(
            f"Seeds added until decided: *{verdict}* at a true gap of -1 AP, margin 1 AP, by the look at that number"
        )
        table(
            ["sd baseline, candidate", "correlation"],
            [
                ([f"{sds[0]:g}, {sds[1]:g}", f"{rho}"], [getattr(rates, verdict)[look] for look in LOOKS])
                for (sds, rho), rates in cells.items()
            ],
            LOOKS,
        )
    heading("Seeds added by verdicts on gaps: an effect's interval lies above the truth at any look by that number")
    table(
        ["weights", "sds of the arms", "correlation"],
        [
            ([name, ", ".join(map(str, sds)), f"{rho}"], effect_over_looks(weights, sds, rho, STUDIES))
            for name, weights in (("main effect", MAIN_EFFECT), ("interaction", INTERACTION))
            for sds in (*FOUR_SDS, (0.2, 1.0, 1.0, 1.0), (0.2, 0.2, 0.2, 1.0))
            for rho in (0.0, 0.3, 0.6)
        ],
        LOOKS,
    )
    for sd in (0.5, 1.0):
        heading(f"Rules for looking again: *closed* by that number of seeds, true gap 0 AP, margin 1 AP, sd {sd:g} AP")
        table(["rule"], [([rule.name], rule.closed) for rule in designs(1.0, sd, 24, STUDIES)], looks)


def after_a_search() -> None:
    """The winner's curse: recipes that all lose the margin or more, and the best of 100 of them is judged."""
    heading("After a search of 100 trials: *closed*, where no recipe is; margin 1 AP")
    print(
        "Each recipe loses the margin, and more by the size of a normal draw of the sd in the second column; on the\n"
        "search's pictures it scores differently by a draw of 0.3 AP. Judged by: the winner's value in the search\n"
        "against one run of the baseline; the interval over the seeds that it was chosen on; fresh seeds, as the\n"
        "verdict is; fresh seeds that are added until decided.\n"
    )
    rows = []
    for sd in (0.5, 1.0, 2.0):
        for recipes_sd in (0.0, 0.5, 2.0):
            rates = {
                seeds: searched_rates(
                    trials=100,
                    margin=1.0,
                    sd=sd,
                    recipes_sd=recipes_sd,
                    split_sd=0.3,
                    seeds=seeds,
                    studies=STUDIES,
                    rng=np.random.default_rng(seeds),
                )
                for seeds in SEEDS
            }
            rows += [
                ([f"{sd:g}", f"{recipes_sd:g}", how], [getattr(rates[seeds], name) for seeds in SEEDS])
                for name, how in (
                    ("by_value", "its value"),
                    ("by_its_seeds", "its own seeds"),
                    ("by_fresh_seeds", "fresh seeds"),
                    ("sequentially", "fresh seeds, added"),
                )
            ]
    table(["sd of seeds", "of recipes", "judged by"], rows)


def proposed_and_tuned() -> None:
    """What a diagnosis proposes is judged, and where it is not closed, what a search finds: two verdicts."""
    heading("A proposed recipe, then a tuned one: *closed*, margin 1 AP, sd 1 AP")
    print(
        "Both are judged against the same runs of the baseline, each at half the error of a single verdict, or (last\n"
        "row of each) each as if it were the only one. At true gaps of -1, -1 every *closed* is an error.\n"
    )
    rows = []
    for gaps, correlation in (((-1.0, -1.0), 0.0), ((-1.0, -1.0), 0.6), ((-1.0, -3.0), 0.0), ((0.0, -1.0), 0.0)):
        rates = {
            seeds: proposed_rates(
                gaps=gaps,
                margin=1.0,
                sd=1.0,
                correlation=correlation,
                seeds=seeds,
                studies=STUDIES,
                rng=np.random.default_rng(seeds),
            )
            for seeds in SEEDS
        }
        rows += [
            ([f"{gaps[0]:g}, {gaps[1]:g}", f"{correlation}", how], [getattr(rates[seeds], name) for seeds in SEEDS])
            for name, how in (
                ("proposed", "the proposed one"),
                ("either", "either"),
                ("sequentially", "either, seeds added"),
                ("without_allowance", "either, no allowance"),
            )
        ]
    table(["true gaps", "correlation", "closed"], rows)


def promised_power() -> None:
    """What became of studies that took the number of further seeds which an undecided one asked for."""
    heading("`seeds_needed`: studies decided with so many more seeds, margin 1 AP, sd of the baseline 1 AP")
    print(
        "First studies are drawn; for each that is undecided and names a number, a study of that many more seeds is\n"
        "drawn anew: with the gap and spread that the first one observed, of which the promise of 80 % speaks, and\n"
        "with the true ones. The quartiles are of the numbers that were asked for.\n"
    )
    columns = ("share that asked", "decided, as observed", "decided, in truth", "25 %", "median", "75 %")
    rows = [
        ([f"{gap:g}", f"{sd:g}", f"{seeds}"], promise(gap, sd, seeds))
        for gap, sd, seeds in ((0, 1, 2), (0, 1, 3), (0, 1, 4), (0, 1, 6), (-0.3, 2, 4), (-1.9, 1, 3), (-1.9, 1, 6))
    ]
    table(["true gap", "sd candidate", "seeds"], rows, columns)


def promise(gap: float, sd: float, seeds: int) -> list[float]:
    rng = np.random.default_rng(seeds)
    firsts = 50 + rng.standard_normal((STUDIES, seeds)), 50 + gap + sd * rng.standard_normal((STUDIES, seeds))
    asked = []
    for baseline, candidate in zip(*firsts, strict=True):
        found = measure_gap(dict(enumerate(baseline.tolist())), dict(enumerate(candidate.tolist())), 1.0)
        if found.seeds_needed and found.method == "welch":
            asked.append((seeds + found.seeds_needed, found.mean, baseline.std(ddof=1), candidate.std(ddof=1)))
    total, mean, *spreads = (np.array(values) for values in zip(*asked, strict=True))
    as_observed = decided(rng, total, mean, spreads)
    in_truth = decided(rng, total, np.full(len(asked), gap), [np.ones(len(asked)), np.full(len(asked), sd)])
    quartiles = np.quantile(total - seeds, (0.25, 0.5, 0.75)) / 100  # shown as they are, not as percentages
    return [len(asked) / STUDIES, as_observed, in_truth, *quartiles.tolist()]


def decided(
    rng: np.random.Generator, seeds: NDArray[np.int64], gap: NDArray[np.float64], sds: Sequence[NDArray[np.float64]]
) -> float:
    """Share of studies decided, each of its own number of seeds, drawn by its moments: normal means, chi-square."""
    variances = [sd**2 * rng.chisquare(seeds - 1) / (seeds - 1) for sd in sds]
    means = gap + np.sqrt(sum(sd**2 for sd in sds) / seeds) * rng.standard_normal(len(seeds))
    error, df = welch_error(variances, [seeds, seeds], BASELINE_TO_CANDIDATE)  # type: ignore[list-item]
    verdicts = judge(*Contrast(means, error, df, np.zeros(len(seeds), bool)).interval(), 1.0)
    return float((verdicts != "undecided").mean())


CELLS: list[tuple[str, str, str, str]] = []
"""Of all tables so far: table, cell, column, value."""

HEADINGS: list[str] = []


def heading(title: str) -> None:
    print(f"{chr(10) if HEADINGS else ''}## {title}\n")
    HEADINGS.append(title)


def table(
    labels: list[str], rows: Iterable[tuple[list[str], Sequence[float]]], columns: Sequence[object] = SEEDS
) -> None:
    print("| " + " | ".join([*labels, *map(str, columns)]) + " |")
    print("|" + ":---|" * len(labels) + "---:|" * len(columns))
    for names, shares in rows:
        shown = [f"{100 * share:.1f}" for share in shares]
        print("| " + " | ".join([*names, *shown]) + " |")
        cell = "; ".join(f"{label} {name}" for label, name in zip(labels, names, strict=True))
        CELLS.extend((HEADINGS[-1], cell, str(column), value) for column, value in zip(columns, shown, strict=True))


if __name__ == "__main__":
    main()
