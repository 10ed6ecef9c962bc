"""The tables in which an answer is printed."""

from rich.table import Table

from workspace.gap import Effect, Gap
from workspace.orchestrator.comparison import ComparedArm, ComparisonReport
from workspace.orchestrator.report import Report, selection_line

_MOST_ROWS = 12
"""Of a table by size and class; all of them are in the experiment's files."""


def result_table(report: Report) -> Table:
    """The arms with their AP, and each candidate's gap with its interval and verdict."""
    table = Table(title=f"{report.experiment} ({report.scale}), {report.metric} in AP points")
    for column in ("arm", "precision", "seeds", "AP", "gap", "90 % interval", f"verdict at {report.margin:g}"):
        table.add_column(column, justify="left" if column in ("arm", "precision") else "right")
    for name, arm in report.arms.items():
        values = list(arm.ap.values())
        gap = report.gaps.get(name)
        cells = ("", "", "") if gap is None else (f"{gap.mean:+.2f}", _interval(gap), gap.verdict)
        table.add_row(name, arm.precision, str(len(values)), _spread(values), *cells)
    return table


def details_tables(report: Report) -> list[Table]:
    """Each gap by object size and class, where that is known; of many classes, those that lose the most."""
    effects = {
        gap: {**{f"{size} objects": effect for size, effect in found.sizes.items()}, **found.classes}
        for gap, found in report.details.items()
    }
    names = list(dict.fromkeys(name for of_gap in effects.values() for name in of_gap))
    if not names:
        return []
    table = Table(
        title="the gaps by object size and class",
        caption="No verdicts: each interval is for its own question, and of many one in ten misses the truth."
        + (f" Shown are the {_MOST_ROWS} that lose the most." if len(names) > _MOST_ROWS else ""),
    )
    table.add_column("")
    for gap in effects:
        table.add_column(gap, justify="right")
        table.add_column("90 % interval", justify="right")
    worst = sorted(names, key=lambda name: min(of_gap[name].mean for of_gap in effects.values() if name in of_gap))
    kept = set(worst[:_MOST_ROWS])
    for name in (name for name in names if name in kept):
        cells = []
        for of_gap in effects.values():
            cells += [f"{of_gap[name].mean:+.2f}", _interval(of_gap[name])] if name in of_gap else ["", ""]
        table.add_row(name, *cells)
    return [table]


def front_table(report: Report) -> list[Table]:
    """What a diagnosed search found to choose from: AP on the search split against what stays in half."""
    if report.found is None or report.best is None:
        return []
    found = report.found
    ended = "ended when a recipe did as well as the reference" if found.is_reached else "tried all its trials"
    table = Table(
        title="the search's choice, on its own split",
        caption="\n".join(
            [
                f"The search {ended}.",
                *(f"Proposed and not tried: {line}" for line in found.set_aside),
                *(
                    f"AP after epoch {epoch} ranks {ranks.trials} trials as final AP does with tau {ranks.tau:+.2f} "
                    f"(p {ranks.p_value:.2f}): {'enough' if ranks.agree else 'too little'} to stop trials by."
                    for epoch, ranks in found.ranks.items()
                ),
                *(selection_line(selection) for name, selection in report.selections.items() if name == "candidate"),
            ]
        ),
        caption_justify="left",
    )
    for column in ("recipe", "in half", "seeds", "AP", ""):
        table.add_column(column, justify="left" if column in ("recipe", "") else "right")
    chosen = found.chosen.number
    points = {point.number: point for point in (*found.front, *(at for at in found.points if at.number == chosen))}
    for point in sorted(points.values(), key=lambda point: (-point.in_half, point.mean)):
        mark = "chosen" if point.number == chosen else ""
        cells = (f"{100 * point.in_half:.0f} %", str(len(point.values)), _spread(list(point.values)), mark)
        table.add_row(f"trial {point.number}", *cells)
    baseline = report.arms["baseline"].precision
    table.add_row(f"{baseline} reference", "0 %", str(len(found.reference)), _spread(list(found.reference)), "")
    return [table]


def comparison_tables(report: ComparisonReport) -> list[Table]:
    """The contrasts, beside what was published; before them the arms, where a contrast is more than two of them."""
    are_pairs = all(report.pair(name) for name in report.weights)
    return [contrast_table(report)] if are_pairs else [arm_table(report), contrast_table(report)]


def arm_table(report: ComparisonReport) -> Table:
    """Each arm with what was trained and its AP."""
    table = Table(title=f"{report.experiment} ({report.scale}), arms")
    for column in ("arm", "detector", "precision", "recipe", "seeds", "AP"):
        table.add_column(column, justify="right" if column in ("seeds", "AP") else "left")
    for name, arm in report.arms.items():
        values = list(arm.ap.values())
        table.add_row(name, arm.detector, arm.precision, arm.recipe, str(len(values)), _spread(values))
    return table


def contrast_table(report: ComparisonReport) -> Table:
    """A row for each contrast: the published figures and their difference, then ours, with interval and verdict."""
    table = Table(title=f"{report.experiment} ({report.scale}), AP in points")
    pairs = [pair for name in report.weights if (pair := report.pair(name))]
    table.add_column("contrast")
    if report.published:
        for column in ("NPU", "zoo", "published"):
            table.add_column(column, justify="right")
    if pairs:
        table.add_column(_heading([baseline for baseline, _ in pairs], "baseline"), justify="right")
        table.add_column(_heading([candidate for _, candidate in pairs], "candidate"), justify="right")
    if report.is_sequential:
        table.add_column("seeds", justify="right")
    for column in ("gap" if len(pairs) == len(report.weights) else "contrast", "90 % interval"):
        table.add_column(column, justify="right")
    table.add_column(f"verdict at {report.margin:g}")
    for name in report.weights:
        cells = [name]
        if report.published:
            row = report.published.get(name)
            mark = " *" if report.asks_more_narrowly(name) else ""
            cells += (
                ["", "", ""] if row is None else [f"{row.npu:.1f}", f"{row.zoo:.1f}", f"{row.difference:+.1f}{mark}"]
            )
        if pairs:
            pair = report.pair(name)
            cells += ["", ""] if pair is None else [_mean(arm) for arm in pair]
        if report.is_sequential:
            cells.append(str(report.seeds(name) or ""))
        found = report.contrasts.get(name)
        if found is None:
            cells += ["", "", "a run failed"]
        else:
            cells += [f"{found.mean:+.2f}", _interval(found), found.verdict if isinstance(found, Gap) else ""]
        table.add_row(*cells)
    return table


def _heading(arms: list[ComparedArm], role: str) -> str:
    """The precision of the arms in that role, where it is one."""
    precisions = {arm.precision for arm in arms}
    return precisions.pop().upper() if len(precisions) == 1 else role


def _interval(found: Gap | Effect) -> str:
    return "none" if found.low is None or found.high is None else f"{found.low:+.2f} to {found.high:+.2f}"


def _mean(arm: ComparedArm) -> str:
    return f"{arm.mean:.1f}" if arm.ap else ""


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.1f}{spread}"
