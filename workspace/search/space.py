"""The words in which an experiment states its search space, and the space they resolve to.

An experiment maps names to words::

    {"lr": times(0.25, 4), "fp32_islands": choice({"none": (), "head": ("head",)})}

and :func:`resolve` turns them, with the values of the default recipe, into a :class:`Space` with absolute bounds.
Nothing here imports Optuna, so that an experiment can be read, planned and listed without it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workspace.errors import UserError

if TYPE_CHECKING:
    import optuna

Label = str | int | float  # what Optuna and MLflow are shown of a value


@dataclass(frozen=True)
class Range:
    """Every number from ``low`` to ``high``, both included; ``log``: uniform in the logarithm."""

    low: float
    high: float
    log: bool
    integer: bool

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(f"search space: the range {self.low} to {self.high} is empty or not finite")
        if self.log and self.low <= 0:
            raise UserError(f"search space: a logarithmic range must begin above 0, this one begins at {self.low}")

    def suggest(self, name: str, trial: "optuna.trial.Trial") -> Label:
        if self.integer:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def encode(self, value: Any) -> Label:
        """``value`` itself; ValueError where it is no number of this range."""
        if not _is_number(value) or not self.low <= value <= self.high or (self.integer and value != int(value)):
            raise ValueError(f"{value!r} is not {self}")
        return int(value) if self.integer else float(value)

    def decode(self, label: Label) -> Any:
        return label

    def __str__(self) -> str:
        kind = "an integer" if self.integer else "a number"
        return f"{kind} from {self.low} to {self.high}{', log-uniform' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of several (label, value) pairs; Optuna and MLflow see the labels."""

    options: tuple[tuple[str, Any], ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise UserError("search space: a choice without options")
        for index, (label, value) in enumerate(self.options):
            if any(value == other for _, other in self.options[:index]):
                raise UserError(f"search space: the choice {label!r} stands for the same value as one before it")
            if repr(value) == object.__repr__(value):
                raise UserError(f"search space: the value of the choice {label!r} needs a repr that tells what it is")

    def suggest(self, name: str, trial: "optuna.trial.Trial") -> Label:
        return trial.suggest_categorical(name, [label for label, _ in self.options])

    def encode(self, value: Any) -> Label:
        """The label of ``value``; ValueError where it is no option."""
        for label, option in self.options:
            if option == value:
                return label
        raise ValueError(f"{value!r} is not {self}")

    def decode(self, label: Label) -> Any:
        return dict(self.options)[str(label)]

    def __str__(self) -> str:
        return "one of " + ", ".join(f"{label} ({value!r})" for label, value in self.options)


@dataclass(frozen=True)
class Times:
    """From ``low`` to ``high`` times the default recipe's value, log-uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 < self.low <= 1 <= self.high < math.inf and self.low < self.high):
            raise UserError(f"search space: times({self.low}, {self.high}) must span 1, the default, and begin above 0")

    def of(self, default: Any) -> Range:
        """The range around ``default``: of integers, rounded and at least 1, if that is one."""
        if not _is_number(default) or default <= 0:
            raise UserError(f"search space: {default!r} has no multiples; use a range or a choice")
        if isinstance(default, int):
            return integer(max(1, round(self.low * default)), round(self.high * default), log=True)
        return log_uniform(self.low * default, self.high * default)


Word = Range | Choice | Times


def log_uniform(low: float, high: float) -> Range:
    return Range(float(low), float(high), log=True, integer=False)


def uniform(low: float, high: float) -> Range:
    return Range(float(low), float(high), log=False, integer=False)


def integer(low: int, high: int, log: bool = False) -> Range:
    if not (isinstance(low, int) and isinstance(high, int)):
        raise UserError(f"search space: integer({low}, {high}) takes integers")
    return Range(low, high, log=log, integer=True)


def choice(options: Mapping[str, Any]) -> Choice:
    return Choice(tuple(options.items()))


def times(low: float, high: float) -> Times:
    return Times(low, high)


@dataclass(frozen=True)
class Space:
    """A search space with absolute bounds, and the default recipe's point in it.

    Attributes:
        words: by name, in the order in which they are suggested.
        default: the label of the default recipe's value, by name.
    """

    words: Mapping[str, Range | Choice]
    default: Mapping[str, Label]

    def suggest(self, trial: "optuna.trial.Trial") -> dict[str, Label]:
        """Lets Optuna choose a point; what it has chosen for this trial before stays chosen."""
        return {name: word.suggest(name, trial) for name, word in self.words.items()}

    def encode(self, values: Mapping[str, Any]) -> dict[str, Label]:
        """The labels of a point given by its values; ValueError where it lies outside the space."""
        return {name: word.encode(values[name]) for name, word in self.words.items()}

    def decode(self, labels: Mapping[str, Label]) -> dict[str, Any]:
        """The values of a point given by its labels."""
        return {name: word.decode(labels[name]) for name, word in self.words.items()}

    def describe(self) -> dict[str, str]:
        """The space in words; two spaces with the same description are the same."""
        return {name: f"{word}; default {self.default[name]}" for name, word in self.words.items()}


def resolve(words: Mapping[str, Word], defaults: Mapping[str, Any]) -> Space:
    """The space of those words around the default recipe, whose values ``defaults`` gives by the same names.

    Raises:
        UserError: a name has no default, a multiple is asked of something that has none, or the default recipe lies
            outside the space (then a search could not tell whether it found something better).
    """
    resolved: dict[str, Range | Choice] = {}
    labels: dict[str, Label] = {}
    for name, word in words.items():
        if name not in defaults:
            raise UserError(f"search space: {name!r} is not a setting of the recipe; there are {', '.join(defaults)}")
        default = defaults[name]
        try:
            resolved[name] = word.of(default) if isinstance(word, Times) else word
        except UserError as error:
            raise UserError(f"{error} ({name!r}, whose default is {default!r})") from None
        try:
            labels[name] = resolved[name].encode(default)
        except ValueError as error:
            raise UserError(f"search space: the default of {name!r} lies outside it: {error}; widen it") from None
    return Space(resolved, labels)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
