"""Which members lose the precision: found by computing them, and nothing else, in FP32, and then in half.

An error that is made in one layer shows in every layer after it, and in the backward pass in every layer before it. So
nothing is concluded from where errors are seen. A member counts as a cause as far as the update's error goes away when
that member alone is in FP32 (leave one out) *and* appears when it alone is in half (leave one in). One of them is not
enough: a layer whose output is FP32 also mends the next one, if that computes in whatever type it is given.

The members form a tree of calls. The search goes down it from the whole model, by halves of long lists, and stops where
no part is as much of a cause as the whole: there the loss is spread over the parts.
"""

import dataclasses
from dataclasses import dataclass, field

from workspace.diagnosis.bench import Way
from workspace.diagnosis.gauge import Errors, Gauge

_AS_MUCH = 0.95
"""A part that is this much of a cause as its whole is the cause in its place."""

_WORTH_A_LOOK = 0.2
"""A part that is less of a cause, relative to its whole, is not taken apart further."""

_SINGLY = 4  # parts that are tried one by one; more are halved first


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What is left of a step's error with some members in FP32, and what there is with them alone in half.

    Attributes:
        share: of the update's error that goes away; below 0 where it grows.
        alone: the update's error with them alone in half, relative to that of the step; ``None`` where they mend so
            little that it was not tried.
        left: errors that are left.
    """

    members: tuple[str, ...]
    share: float
    alone: float | None
    left: Errors

    @property
    def weight(self) -> float:
        """How much of a cause they are, 0 to 1."""
        return max(0.0, min(self.share, self.alone or 0.0))


@dataclass
class Attribution:
    """The search in one model.

    Args:
        way: whose error is explained.
        passes: ways that may be measured, about.
    """

    gauge: Gauge
    way: Way
    passes: int
    found: dict[str, Mended] = field(default_factory=dict)
    _spent: int = 0
    _causes: list[str] = field(default_factory=list)

    def search(self) -> list[Mended]:
        """The causes, the greatest first."""
        parts = self._parts("")
        while len(parts) == 1:  # the one call that a model's forward makes is as much of a cause as the model
            parts = self._parts(parts[0])
        self._take_apart(parts, 1.0)
        return sorted((self.found[name] for name in dict.fromkeys(self._causes)), key=lambda m: -m.weight)

    def share(self, members: tuple[str, ...]) -> float:
        """Of the update's error that goes away with those members in FP32."""
        return self._mended(members).share

    def _mended(self, members: tuple[str, ...], worth: float = 1.0) -> Mended:
        """
        Args:
            worth: share from which on they are tried alone in half too.
        """
        whole = self.gauge.measure(self.way).update
        left = self.gauge.measure(dataclasses.replace(self.way, islands=(*self.way.islands, *members)))
        self._spent += 1
        share = 1 - left.update / whole if whole > 0 else 0.0
        alone = None
        if share >= worth and share > 0:
            self._spent += 1
            alone = self.gauge.measure(dataclasses.replace(self.way, alone=members)).update / whole
        return Mended(members=members, share=share, alone=alone, left=left)

    def _take_apart(self, members: list[str], of: float) -> None:
        """Looks for causes among members that together weigh ``of``."""
        tried: list[Mended] = []
        for group in _groups(members):
            if self._spent >= self.passes:
                break
            mended = self._mended(group, _WORTH_A_LOOK * of)
            tried.append(mended)
            if len(group) == 1:
                self.found[group[0]] = mended
            if mended.weight >= _AS_MUCH * of:
                break  # what the others could be is too little to look for
        for mended in sorted(tried, key=lambda m: -m.weight):
            if mended.weight < _WORTH_A_LOOK * of or mended.weight == 0:
                continue
            if len(mended.members) > 1:
                self._take_apart(list(mended.members), mended.weight)
                continue
            (name,) = mended.members
            self._causes.append(name)
            known = len(self._causes)
            if parts := self._parts(name):
                self._take_apart(parts, mended.weight)
            if any(self.found[part].weight >= _AS_MUCH * mended.weight for part in self._causes[known:]):
                self._causes.remove(name)  # one of its parts stands for it

    def _parts(self, name: str) -> list[str]:
        return self.gauge.bench.members[name].parts


def _groups(members: list[str]) -> list[tuple[str, ...]]:
    if len(members) <= _SINGLY:
        return [(member,) for member in members]
    middle = len(members) // 2
    return [tuple(members[:middle]), tuple(members[middle:])]
