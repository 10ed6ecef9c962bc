"""What a diagnosis proposes, and the search space that has its proposals among the options."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.errors import UserError
from workspace.precision import LossScale
from workspace.search.space import Choice, Range, Times, Word, choice

_IN_FULL = 1000  # powers of two up to here are called by their digits


@dataclass(frozen=True)
class Proposal:
    """A change of the default recipe that should win AP back.

    Attributes:
        changes: values by name, as the recipe and the precision take them.
        why: in one line.
    """

    changes: Mapping[str, Any]
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """What a search takes from a diagnosis file.

    Attributes:
        precision: name of the one that was diagnosed.
        proposals: the most promising first.
    """

    detector: str
    precision: str
    proposals: Sequence[Proposal]


def read_diagnosis(file: Path) -> Diagnosis:
    """Reads what ``python -m workspace diagnose`` wrote.

    Raises:
        UserError: the file is not there, or is no diagnosis.
    """
    try:
        content = json.loads(file.read_text())
        proposals = [Proposal(_decoded(entry["changes"]), str(entry["why"])) for entry in content["proposals"]]
        return Diagnosis(str(content["detector"]), str(content["precision"]["name"]), proposals)
    except OSError as error:
        raise UserError(f"diagnosis {file}: {error.strerror}; `python -m workspace diagnose` writes one") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"diagnosis {file}: it is not what `python -m workspace diagnose` writes ({error})") from error


def _decoded(changes: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists and objects as the values that they stand for."""
    return {name: _value(name, value) for name, value in changes.items()}


def _value(name: str, value: Any) -> Any:
    if name == "loss_scale" and isinstance(value, Mapping):
        return LossScale(**value)
    if name == "fp32_islands":
        return tuple(sorted(set(value)))  # as `Precision` orders them
    return tuple(value) if isinstance(value, list) else value


def widened(
    words: Mapping[str, Word], proposals: Sequence[Proposal], defaults: Mapping[str, Any]
) -> Mapping[str, Word]:
    """The words of a search space in which each proposal is a point.

    A choice gets the proposed value as one more option, a range reaches up or down to it, and what was not searched
    becomes a choice between the default and what is proposed.

    Args:
        defaults: the default recipe's value of each name.
    """
    found = dict(words)
    for proposal in proposals:
        for name, value in proposal.changes.items():
            if name in found or value != defaults[name]:
                found[name] = _with_value(name, found.get(name), value, defaults[name])
    return found


def _with_value(name: str, word: Word | None, value: Any, default: Any) -> Word:
    if word is None:
        return choice(_labelled(default, value))
    if isinstance(word, Times):
        word = word.of(default)
    if isinstance(word, Range):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"the diagnosis proposes {value!r} for {name}, which is searched as {word}")
        return Range(min(word.low, value), max(word.high, value), log=word.log, integer=word.integer)
    if any(value == option for _, option in word.options):
        return word
    return Choice((*word.options, *_labelled(value).items()))


def _labelled(*values: Any) -> dict[str, Any]:
    return {_label(value): value for value in values}


def _label(value: Any) -> str:
    """As `workspace.search.spaces` calls such a value."""
    if isinstance(value, LossScale):
        grows = f", grows every {value.growth_interval}" if value.growth_interval != LossScale.growth_interval else ""
        power = math.log2(value.init)
        init = f"2^{power:.0f}" if power.is_integer() and value.init > _IN_FULL else f"{value.init:g}"
        return f"{value.policy} {init}{grows if value.policy == 'dynamic' else ''}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
