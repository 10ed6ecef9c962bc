"""How often the verdict rule errs, and how often it decides: ``docs/statistics.md`` quotes these tables.

    python benchmarks/verdict_calibration.py > benchmarks/results/verdict_calibration.md

Each cell is 10,000 simulated studies from one fixed seed; normal spread over seeds; AP in points. Takes seconds.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from workspace.gap import Rates, verdict_rates
from workspace.gap.contrast import BASELINE_TO_CANDIDATE, contrast
from workspace.gap.verdict import judge

STUDIES = 10_000
SEEDS = (2, 3, 4, 5, 6, 8, 10)
SDS = ((0.5, 0.5), (1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (0.2, 1.0))
CORRELATIONS = (-0.3, 0.0, 0.3, 0.6, 0.9)
MAIN_EFFECT = (-0.5, -0.5, 0.5, 0.5)
FOUR_SDS = ((1.0, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0, 1.0))


def main() -> None:
    print("# Calibration of the verdict\n")
    print(
        "Made by `python benchmarks/verdict_calibration.py`. Shares in percent of 10,000 simulated studies, so that an"
    )
    print("error rate of 5 % is read to within 0.4 points (95 %). Columns: seeds an arm, the same seeds in both.\n")
    settings = [(sds, correlation) for sds in SDS for correlation in CORRELATIONS]
    at_margin = {setting: [simulate(-1, 1, *setting, seeds=seeds) for seeds in SEEDS] for setting in settings}
    no_gap = {setting: [simulate(0, 1, *setting, seeds=seeds) for seeds in SEEDS] for setting in settings}

    def print_table(shares: dict[tuple[tuple[float, float], float], list[float]]) -> None:
        table(
            ["sd baseline, candidate", "correlation"],
            [([f"{sds[0]}, {sds[1]}", f"{correlation}"], row) for (sds, correlation), row in shares.items()],
        )

    print("## Errors: *closed* at a true gap of -1 AP, on the margin of 1 AP\n")
    print_table({setting: [rates.closed for rates in row] for setting, row in at_margin.items()})
    print("\n## Errors: *open* at the same gap\n")
    print_table({setting: [rates.open for rates in row] for setting, row in at_margin.items()})
    print("\n## Power: *closed* at a true gap of 0 AP, margin 1 AP\n")
    print_table({setting: [rates.closed for rates in row] for setting, row in no_gap.items()})
    print("\n## Share of studies judged by pairs\n")
    print_table({setting: [rates.paired for rates in row] for setting, row in no_gap.items()})

    print("\n## AP rounded to 0.1, as MMDetection rounds it: *closed* at a true gap of -0.2 AP, margin 0.2 AP\n")
    table(
        ["sd of both arms"],
        [
            ([f"{sd}"], [simulate(-0.2, 0.2, (sd, sd), 0.0, seeds=seeds, resolution=0.1).closed for seeds in SEEDS])
            for sd in (0.06, 0.14, 0.25)
        ],
    )
    print("\n## Looking twice: *closed* at a true gap of -1 AP, margin 1 AP, sd 1 AP\n")
    looks = [two_looks(seeds) for seeds in SEEDS]
    table(
        ["judged"],
        [
            (["once"], [once for once, _ in looks]),
            (["again on twice the seeds, where undecided"], [either for _, either in looks]),
        ],
    )
    print("\n## Main effect of a 2x2 design: the interval lies above the truth\n")
    table(
        ["sds of the arms", "correlation, within"],
        [
            ([", ".join(map(str, sds)), f"{rho}, {within}"], [main_effect(sds, rho, seeds, within) for seeds in SEEDS])
            for sds in FOUR_SDS
            for rho in (0.0, 0.3, 0.6)
            for within in ("all", "sign")
        ],
    )


def main_effect(sds: tuple[float, ...], correlation: float, seeds: int, within: str) -> float:
    """Share of studies whose interval lies above a main effect of zero.

    Args:
        within: ``all`` arms share a part of their luck with a seed, or those of one ``sign`` of weight do.
    """
    rng = np.random.default_rng(0)
    luck = rng.standard_normal((2, STUDIES, seeds))
    arms = [
        sd
        * (
            np.sqrt(correlation) * luck[int(within == "sign" and weight > 0)]
            + np.sqrt(1 - correlation) * rng.standard_normal((STUDIES, seeds))
        )
        for sd, weight in zip(sds, MAIN_EFFECT, strict=True)
    ]
    low, _ = contrast(arms, MAIN_EFFECT, same_seeds=True).interval()
    return float((low > 0).mean())


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


def table(labels: list[str], rows: Iterable[tuple[list[str], list[float]]]) -> None:
    print("| " + " | ".join([*labels, *map(str, SEEDS)]) + " |")
    print("|" + ":---|" * len(labels) + "---:|" * len(SEEDS))
    for names, shares in rows:
        print("| " + " | ".join([*names, *(f"{100 * share:.1f}" for share in shares)]) + " |")


if __name__ == "__main__":
    main()
