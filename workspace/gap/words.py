"""The verdict on a gap, and what an effect is, in one English sentence."""

import math

from workspace.gap.effect import Effect
from workspace.gap.sequential import LOOKS
from workspace.gap.verdict import Gap

_MANY = 1000  # further seeds an arm; beyond it the exact number tells nobody anything


def sentence(gap: Gap, *, candidate: str = "FP16", metric: str = "AP") -> str:
    """Say size, interval, verdict, and what would decide it.

    For example: "FP16 loses 0.4 AP (90 % interval -1.9 to +1.1, 4 seeds an arm): undecided at a margin of 1.0; about 9
    more seeds an arm would decide it."

    Args:
        gap: what was measured.
        candidate: name of the candidate's arm, as the subject of the sentence.
        metric: name of the metric.
    """
    decimals = _decimals(gap)
    return f"{_size(gap, candidate, metric, decimals)} ({_grounds(gap, decimals)}): {_verdict(gap, decimals)}."


def effect_sentence(effect: Effect, *, name: str, metric: str = "AP") -> str:
    """Say size and interval, e.g. "recipe: -0.40 AP (90 % interval -1.90 to +1.10, 4 seeds an arm)."

    Args:
        effect: what was measured.
        name: of the effect.
        metric: name of the metric.
    """
    fewest, most = min(effect.seeds.values()), max(effect.seeds.values())
    seeds = f"{_count(most)} an arm" if fewest == most else f"{fewest} to {_count(most)} an arm"
    paired = ", paired" if effect.method == "paired" else ""
    if effect.low is None or effect.high is None:
        grounds = f"{seeds}, no interval"
    else:
        looks = " that allows for looks" if effect.sequential else ""
        grounds = f"90 % interval{looks} {effect.low:+z.2f} to {effect.high:+z.2f}, {seeds}{paired}"
    return f"{name}: {effect.mean:+z.2f} {metric} ({grounds})."


def _decimals(gap: Gap) -> int:
    """As few as show the margin, and the interval's ends on the same side of it as the verdict has them."""
    decimals = 1
    while decimals < 6 and not _shows(gap, decimals):
        decimals += 1
    return decimals


def _shows(gap: Gap, decimals: int) -> bool:
    margin = round(gap.margin, decimals)
    ends = [end for end in (gap.low, gap.high) if end is not None]
    return math.isclose(margin, gap.margin) and all(
        _side(round(end, decimals), margin) == _side(end, gap.margin) for end in ends
    )


def _side(end: float, margin: float) -> int:
    return (end > -margin) - (end < -margin)


def _size(gap: Gap, candidate: str, metric: str, decimals: int) -> str:
    size = f"{abs(gap.mean):.{decimals}f}"
    if float(size) == 0:
        return f"{candidate} is level with the baseline in {metric}"
    return f"{candidate} {'loses' if gap.mean < 0 else 'gains'} {size} {metric}"


def _grounds(gap: Gap, decimals: int) -> str:
    if gap.low is None or gap.high is None:
        return _seeds(gap)
    allowed = [*(["looks"] if gap.sequential else []), *([f"{gap.recipes} recipes"] if gap.recipes > 1 else [])]
    allows = f" that allows for {' and '.join(allowed)}" if allowed else ""
    return f"90 % interval{allows} {gap.low:+z.{decimals}f} to {gap.high:+z.{decimals}f}, {_seeds(gap)}"


def _seeds(gap: Gap) -> str:
    if gap.baseline_seeds != gap.candidate_seeds:
        return f"{_count(gap.candidate_seeds)} against {gap.baseline_seeds} of the baseline"
    paired = ", paired" if gap.method == "paired" else ""
    return f"{_count(gap.candidate_seeds)} an arm{paired}"


def _verdict(gap: Gap, decimals: int) -> str:
    at = f"at a margin of {gap.margin:.{decimals}f}"
    if gap.verdict != "undecided":
        return f"{gap.verdict} {at}"
    return f"undecided {at}; {_what_would_decide(gap)}"


def _what_would_decide(gap: Gap) -> str:
    further = gap.seeds_needed
    if gap.baseline_seeds == gap.candidate_seeds == 1:
        return "one seed shows no spread, so at least one more seed an arm is needed"
    if min(gap.baseline_seeds, gap.candidate_seeds) == 1:
        return "one seed shows no spread, so the arm with one needs at least one more"
    if gap.method == "none":
        return (
            "all seeds of an arm gave the same value, so their spread is unknown: check that the seed reaches training"
        )
    if further is None and not gap.sequential:
        return "the gap lies on the margin, where no number of seeds can be expected to decide"
    if further is None or further > _MANY:
        most = f"{LOOKS[-1]}" if gap.sequential else f"{_MANY} more"
        return f"it is so close to the margin that more than {most} seeds an arm would be needed"
    return f"about {further} more {'seed' if further == 1 else 'seeds'} an arm would decide it"


def _count(seeds: int) -> str:
    return f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"
