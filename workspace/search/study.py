"""`Study`: a search that can be killed at any moment and goes on as if it had not been.

Optuna's ask and tell over its relational storage. One process, the orchestrator, opens a study; ``optuna-dashboard``
may read the same storage meanwhile. Everything that a decision depends on is stored before the decision is made, and
no random stream outlives a trial, so with one worker a search that was interrupted asks the same trials in the same
order as one that was not.
"""

import functools
import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from workspace.search.fidelity import CHEAP, Fidelity, Selection
from workspace.search.ranks import Ranks
from workspace.search.space import Label, Space
from workspace.search.storage import open_storage, storage_errors

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

P = ParamSpec("P")
R = TypeVar("R")

TrialState = Literal["waiting", "running", "finished", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A point of the search space.

    Attributes:
        params: values by name, as the recipe takes them.
        labels: the same as Optuna and MLflow show them.
    """

    number: int
    params: dict[str, Any]
    labels: dict[str, Label]


@dataclass(frozen=True)
class TrialRow:
    """What is stored of a trial.

    Attributes:
        value: the objective when finished, the last reported value when pruned; ``None`` otherwise.
        reports: reported values by step.
        attrs: what :meth:`Study.annotate` and :meth:`Study.fail` wrote.
    """

    number: int
    state: TrialState
    value: float | None
    labels: dict[str, Label]
    reports: dict[int, float]
    attrs: dict[str, Any]


def _explained(method: "Callable[Concatenate[Study, P], R]") -> "Callable[Concatenate[Study, P], R]":
    """The method, with failures of the storage (a full disk) in one line."""

    @functools.wraps(method)
    def explained(self: "Study", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with storage_errors(self._url):
            return method(self, *args, **kwargs)

    return explained


class Study:
    """The search of one experiment, maximising its objective.

    The name of the study is the experiment's and a digest of everything that decides what its trials mean: the
    caller's ``identity``, the space with its default, the seed, when pruning begins. A changed question is
    therefore another study, beside the old one in the same storage, and trials of the two never mix.

    Args:
        experiment: its name.
        identity: whatever else a trial's value depends on (data, schedule, precision, …), as JSON values.
        space: what is searched. Its default is the first trial, number 0, but for ``first``, and is never pruned.
        first: labels of the points that are tried before it.
        ranked: whether a trial is pruned only where AP has been seen to rank trials as their final AP does.
        fidelity: of cheap runs, whose AP trials report at step ``CHEAP``; ``None`` where there are none.
        seed: of the sampler; independent of the seeds that runs are trained with.
        prune_from: no trial is pruned before this step, in the unit of :meth:`report`.
        url: of Optuna's storage, as SQLAlchemy writes it; see :func:`default_url`.

    Raises:
        UserError: here and in every method, when the storage cannot be read or written.
    """

    def __init__(
        self,
        experiment: str,
        *,
        identity: Any,
        space: Space,
        seed: int,
        prune_from: int,
        url: str,
        first: Sequence[Mapping[str, Label]] = (),
        ranked: bool = False,
        fidelity: Fidelity | None = None,
    ) -> None:
        import optuna

        from workspace.search.pruning import study_pruner
        from workspace.search.sampler import RestartableSampler

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        question = _question(
            identity, space, seed=seed, prune_from=prune_from, first=first, ranked=ranked, fidelity=fidelity
        )
        self.name = _name(experiment, question)
        self.space = space
        self._fidelity = fidelity
        self._default = len(first)  # its number
        self._url = url
        self._rdb = open_storage(url)
        with storage_errors(url):
            self._study = optuna.create_study(
                study_name=self.name,
                storage=self._rdb,
                direction="maximize",
                sampler=RestartableSampler(seed),
                pruner=study_pruner(prune_from, ranked=ranked, has_cheap_runs=fidelity is not None),
                load_if_exists=True,
            )
            there = len(self._study.get_trials(deepcopy=False))
            if not there:
                for key, value in question.items():
                    self._study.set_user_attr(key, value)
            for point in (*first, space.default)[there:]:  # the rest of what a kill cut off: none is asked before
                self._study.enqueue_trial(dict(point))

    @classmethod
    def is_stored(
        cls,
        experiment: str,
        *,
        identity: Any,
        space: Space,
        seed: int,
        prune_from: int,
        url: str,
        first: Sequence[Mapping[str, Label]] = (),
        ranked: bool = False,
        fidelity: Fidelity | None = None,
    ) -> bool:
        """Whether the storage has the study that these arguments open; it is not made."""
        import optuna

        question = _question(
            identity, space, seed=seed, prune_from=prune_from, first=first, ranked=ranked, fidelity=fidelity
        )
        name = _name(experiment, question)
        storage = open_storage(url)
        try:
            with storage_errors(url):
                return name in optuna.get_all_study_names(storage)
        finally:
            storage.remove_session()
            storage.engine.dispose()

    @_explained
    def ask(self) -> Trial:
        """A new trial, running from now on."""
        trial = self._study.ask()
        labels = self.space.suggest(trial)
        return self._trial(trial.number, labels)

    @_explained
    def resume(self) -> list[Trial]:
        """The trials that are running, by number: after a restart, those of the process that was killed.

        One that was cut off while it was being asked is asked to the end.
        """
        import optuna

        trials = []
        for stored in self._study.get_trials():
            if stored.state.name == "RUNNING":
                labels = self.space.suggest(optuna.trial.Trial(self._study, self._id(stored.number)))
                trials.append(self._trial(stored.number, labels))
        return trials

    @_explained
    def report(self, number: int, step: int, value: float) -> bool:
        """Stores an intermediate value of the objective; whether the trial should be pruned now.

        The answer looks at the trial's values up to ``step`` alone, so a journal may be reported again from its
        beginning: a step that is stored keeps its value and gets its answer anew. For a trial that is settled
        nothing is stored, and the answer is whether it was pruned.
        """
        stored = self._get(number)
        if stored.state.is_finished():
            return stored.state.name == "PRUNED"
        if step not in stored.intermediate_values:
            self._rdb.set_trial_intermediate_value(self._id(number), step, float(value))
            stored = self._get(number)
        # What was put before the default recipe is worth its full run, whatever a cheap one says.
        if number == self._default or (step == CHEAP and number < self._default):
            return False
        stored.intermediate_values = {at: seen for at, seen in stored.intermediate_values.items() if at <= step}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of values that are all nan: Optuna prunes them
            return self._study.pruner.prune(self._study, stored)

    @_explained
    def annotate(self, number: int, /, **attrs: Any) -> None:
        """Stores JSON values with a trial, such as the signature of its run; before the trial is settled."""
        stored = self._get(number).user_attrs
        for key, value in attrs.items():
            if key not in stored or stored[key] != value:
                self._rdb.set_trial_user_attr(self._id(number), key, value)

    @_explained
    def finish(self, number: int, value: float) -> None:
        """Settles a trial with its objective; one that is no finite number is a failure. Once settled, it stays so."""
        if math.isfinite(value):
            self._study.tell(number, value, skip_if_finished=True)
        else:
            self.fail(number, f"the objective is {value}")

    @_explained
    def prune(self, number: int) -> None:
        """Settles a trial as pruned; its last reported value counts as its objective for the sampler."""
        self._settle(number, "PRUNED")

    @_explained
    def fail(self, number: int, reason: str) -> None:
        """Settles a trial as failed; the sampler does not look at it."""
        if not self._get(number).state.is_finished():
            self.annotate(number, reason=reason)
            self._settle(number, "FAIL")

    @_explained
    def trials(self) -> list[TrialRow]:
        """All trials by number."""
        states: dict[str, TrialState] = {
            "WAITING": "waiting",
            "RUNNING": "running",
            "COMPLETE": "finished",
            "PRUNED": "pruned",
            "FAIL": "failed",
        }
        return [
            TrialRow(
                number=stored.number,
                state=states[stored.state.name],
                value=stored.value,
                labels=dict(stored.params),
                reports=dict(stored.intermediate_values),
                attrs=dict(stored.user_attrs),
            )
            for stored in self._study.get_trials(deepcopy=False)  # thousands, of which Optuna holds the settled ones
        ]

    def best(self, among: int | None = None) -> Trial | None:
        """The finished trial with the highest objective, the first of equals; ``None`` when none has finished.

        Args:
            among: looks at so many trials, the first ones, as if there had never been more.
        """
        finished = [row for row in self.trials()[:among] if row.state == "finished"]
        if not finished:
            return None
        best = max(finished, key=lambda row: (row.value, -row.number))
        return self._trial(best.number, best.labels)

    @_explained
    def trial(self, number: int) -> Trial:
        """The trial of that number, asked to its end."""
        return self._trial(number, self._get(number).params)

    @_explained
    def ranks(self) -> dict[int, Ranks]:
        """How well AP on the way ranks trials as their final AP does, by step, where enough have finished to tell."""
        from workspace.search.pruning import ranks_at

        finished = [stored for stored in self._study.get_trials() if stored.state.name == "COMPLETE"]
        steps = sorted({step for stored in finished for step in stored.intermediate_values} - {CHEAP})
        found = {step: ranks_at(finished, step) for step in steps[:-1]}
        return {step: ranks for step, ranks in found.items() if ranks is not None}

    @_explained
    def selection(self) -> Selection | None:
        """What the finished trials say of their cheap runs; ``None`` where there are none."""
        from workspace.search.pruning import selection

        stored = self._study.get_trials(deepcopy=False)
        return None if self._fidelity is None else selection(stored, str(self._fidelity))

    def close(self) -> None:
        """Lets go of the storage."""
        self._rdb.remove_session()
        self._rdb.engine.dispose()

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _trial(self, number: int, labels: dict[str, Label]) -> Trial:
        return Trial(number, self.space.decode(labels), labels)

    def _settle(self, number: int, state: Literal["PRUNED", "FAIL"]) -> None:
        from optuna.trial import TrialState as OptunaState

        self._study.tell(number, state=OptunaState[state], skip_if_finished=True)

    def _get(self, number: int) -> "FrozenTrial":
        return self._rdb.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        study = self._rdb.get_study_id_from_name(self.name)
        return self._rdb.get_trial_id_from_study_id_trial_number(study, number)


def _question(
    identity: Any,
    space: Space,
    *,
    seed: int,
    prune_from: int,
    first: Sequence[Mapping[str, Label]],
    ranked: bool,
    fidelity: Fidelity | None,
) -> dict[str, Any]:
    question = {"identity": identity, "space": space.describe(), "seed": seed, "prune_from": prune_from}
    options = {"first": [dict(point) for point in first], "ranked": ranked, "fidelity": fidelity and str(fidelity)}
    # What is not asked for is not named, so that studies keep their names.
    return question | {name: value for name, value in options.items() if value}


def _name(experiment: str, question: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    return f"{experiment}-{digest[:8]}"
