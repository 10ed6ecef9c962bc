"""Plays an experiment (baseline, default, search, confirm, verdict) or a comparison, or lists the runs it takes."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from workspace.detectors import detector
from workspace.errors import UserError
from workspace.experiment import Comparison, Experiment
from workspace.files import write_json
from workspace.gap import next_look
from workspace.orchestrator.alone import alone
from workspace.orchestrator.bill import bills
from workspace.orchestrator.comparison import build_comparison
from workspace.orchestrator.comparison_plan import ComparisonPlan
from workspace.orchestrator.conditions import Conditions
from workspace.orchestrator.cost import Costs
from workspace.orchestrator.details import picture_lines
from workspace.orchestrator.diagnosed import Found, find, with_diagnosis
from workspace.orchestrator.disk import room
from workspace.orchestrator.display import print_plan
from workspace.orchestrator.listing import ListedRun, list_comparison, list_experiment
from workspace.orchestrator.looks import Looks, seeds_to_come
from workspace.orchestrator.loop import KEPT, Loop
from workspace.orchestrator.picture_intervals import PictureIntervals
from workspace.orchestrator.plan import PROPOSED, TUNED_BASELINE, Job, Plan
from workspace.orchestrator.playing import (
    backbone_weights,
    conditions,
    playing,
    run_slots,
    study_is_there,
    study_url,
    terminal,
    viewers,
)
from workspace.orchestrator.proposed import closes, given_up_after, proposed_jobs
from workspace.orchestrator.report import Cost, Report, build_report, divergence_lines
from workspace.orchestrator.results import ap_curves, write_comparison, write_results
from workspace.orchestrator.settings import Settings
from workspace.orchestrator.tables import comparison_tables, details_tables, front_table, result_table
from workspace.orchestrator.trials import open_study, search, study_exists
from workspace.search import Selection, Study, Trial, resolve
from workspace.spec import RunSpec

AnyPlan = TypeVar("AnyPlan", Plan, ComparisonPlan)


def play(question: Experiment | Comparison, settings: Settings, json_file: Path | None = None) -> None:
    """Trains what is not yet trained, judges, writes the results and prints them.

    Raises:
        UserError: what the user can mend; whatever was measured until then is kept and reused.
    """
    console = terminal()
    with alone(settings.work_dir, question.name):
        if isinstance(question, Comparison):
            _play_comparison(_comparison_plan(question, settings, conditions(settings)), settings, console, json_file)
        else:
            _play_experiment(_experiment_plan(question, settings, conditions(settings)), settings, console, json_file)


def list_plan(question: Experiment | Comparison, settings: Settings) -> None:
    """Prints every run with its signature, state and expected device time. Starts none, and writes no result."""
    plan: Plan | ComparisonPlan
    if isinstance(question, Comparison):
        plan = _comparison_plan(question, settings, conditions(settings, trains=False))
        listed = list_comparison(plan, settings.work_dir)
    else:
        plan = _experiment_plan(question, settings, conditions(settings, trains=False))
        with ExitStack() as stack:
            url = study_url(settings)
            there = study_is_there(settings)
            studies = [
                stack.enter_context(open_study(searching, url)) if there and study_exists(searching, url) else None
                for searching in plan.searches
            ]
            listed = list_experiment(plan, settings.work_dir, *studies)
    costs = Costs(plan.conditions, settings.work_dir)
    slots = run_slots(plan.conditions, settings)
    console = terminal()
    at_most = "" if settings.max_seeds is None else ", at most"
    print_plan(console, f"{question.name} ({plan.conditions.key}){at_most}", listed, bills(listed, costs, slots))
    if due := _due(listed):
        console.print(str(room(due, plan.conditions, settings, slots=slots)), highlight=False, soft_wrap=True)


def _experiment_plan(experiment: Experiment, settings: Settings, given: Conditions) -> Plan:
    effort = experiment.efforts[settings.scale]
    plan = Plan(
        experiment=experiment,
        conditions=given,
        seeds=effort.seeds if settings.seeds is None else settings.seeds,
        trials=effort.trials if settings.trials is None else settings.trials,
        max_seeds=settings.max_seeds,
        tune_baseline=settings.tune_baseline,
        fidelity=settings.fidelity,
    )
    if settings.diagnosis is not None:
        plan = with_diagnosis(plan, settings.diagnosis)
    if settings.fidelity is not None and not plan.has_search:
        raise UserError(
            f"--fidelity {settings.fidelity}: {plan.name} searches nothing; give it --trials, or leave it out"
        )
    return plan


def _comparison_plan(comparison: Comparison, settings: Settings, given: Conditions) -> ComparisonPlan:
    searching = {
        "--trials": settings.trials,
        "--storage": settings.storage,
        "--diagnosis": settings.diagnosis,
        "--fidelity": settings.fidelity,
    }
    for option, value in searching.items():
        if value is not None:
            raise UserError(f"{option} {value}: {comparison.name} compares arms and searches nothing; leave it out")
    if settings.tune_baseline:
        raise UserError(f"--tune-baseline: {comparison.name} compares arms and searches nothing; leave it out")
    return ComparisonPlan(
        comparison=comparison,
        conditions=given,
        seeds=comparison.efforts[settings.scale].seeds if settings.seeds is None else settings.seeds,
        max_seeds=settings.max_seeds,
    )


def _play_experiment(plan: Plan, settings: Settings, console: Console, json_file: Path | None) -> None:
    studies = [open_study(searching, study_url(settings)) for searching in plan.searches]
    weights = _prepared(_due(list_experiment(plan, settings.work_dir, *studies)), plan.conditions, settings)
    with playing(
        plan.name,
        plan.conditions,
        settings,
        console=console,
        runs=plan.run_count,
        study=studies[0] if studies else None,
        params={
            "detector": plan.experiment.detector,
            "margin": plan.margin,
            "recipe": plan.default()[0].spec.config_digest,
        },
        tags={"seeds": plan.max_seeds or plan.seeds, "trials": plan.trials if studies else 0},
        weights=weights,
    ) as loop:
        folder = _folder(settings, plan)
        report, arms = _phases(plan, loop, studies, folder)
        curves = ap_curves(arms, loop.folders)
        figure = write_results(folder, report, curves, loop.tracker, studies)
    if json_file is not None:
        write_json(json_file, report.to_json())
    for table in (result_table(report), *details_tables(report), *front_table(report)):
        console.print(table)
    said = (
        *report.sentences,
        *report.selection_lines,
        *picture_lines(report.details),
        *divergence_lines(report.diverged),
    )
    _say(console, said, report.reservations)
    _show(console, figure, viewers(settings, studies))


def _phases(
    plan: Plan, loop: Loop, studies: Sequence[Study], folder: Path
) -> tuple[Report, Mapping[str, Sequence[Job]]]:
    """Trains all arms and judges them; returns the report and each arm's runs.

    Args:
        folder: of this experiment under these conditions.
    """
    untuned: Mapping[str, Sequence[Job]] = _arms(plan, {})
    waiting: Iterator[Job] = itertools.chain(untuned["baseline"], untuned["default"])
    winners: dict[str, Trial] = {}
    selections: dict[str, Selection | None] = {}
    found: Found | None = None
    is_closed = False
    if PROPOSED in untuned:
        loop.play(itertools.chain(waiting, proposed_jobs(plan, loop.ap)))
        waiting = iter(())
        untuned = _until_decided(plan, loop, _as_far_as_it_got(plan, untuned, loop), lambda at: _arms(at, {}))
        is_closed = closes(plan, {arm: loop.ap(runs) for arm, runs in untuned.items()})
    for searching, study in () if is_closed else zip(plan.searches, studies, strict=True):
        loop.study = study
        if searching.start is not None:
            found = find(searching, study, loop, waiting)
            winner: Trial | None = found.chosen
        else:
            loop.play(itertools.chain(waiting, search(searching, study, loop.recall)))
            winner = study.best(plan.trials)
        waiting = iter(())
        if winner is None:
            raise UserError(f"{plan.name}: no trial of the search finished; see the logs under runs/")
        winners[searching.searched] = winner
        selections[searching.searched] = study.selection()
    tuned = {arm: runs for arm, runs in _arms(plan, winners).items() if arm not in untuned}
    loop.play(itertools.chain(waiting, *tuned.values()))
    jobs = _until_decided(plan, loop, {**untuned, **tuned}, lambda at: _arms(at, winners))
    best = {searched: {"trial": winner.number, "params": winner.labels} for searched, winner in winners.items()}
    report = build_report(
        plan,
        jobs,
        loop.records,
        metric=detector(plan.experiment.detector).metric,
        best=best.get("candidate"),
        best_baseline=best.get("baseline"),
        proposal=_proposal(plan),
        cost=_cost(loop),
        looks=Looks(folder),
        found=found,
        selections={name: selection for name, selection in selections.items() if selection is not None},
        folders=loop.folders,
        known=PictureIntervals(folder),
    )
    return report, jobs


def _arms(plan: Plan, winners: Mapping[str, Trial]) -> dict[str, Sequence[Job]]:
    """Each arm's runs, tuned ones for the precisions whose search has a winner."""
    arms: dict[str, Sequence[Job]] = {"baseline": plan.baseline(), "default": plan.default()}
    if proposed := plan.proposed():
        arms[PROPOSED] = proposed
    if "baseline" in winners:
        arms[TUNED_BASELINE] = plan.for_baseline().confirm(winners["baseline"].params)
    if "candidate" in winners:
        arms["tuned"] = plan.confirm(winners["candidate"].params)
    return arms


def _as_far_as_it_got(plan: Plan, arms: Mapping[str, Sequence[Job]], loop: Loop) -> Mapping[str, Sequence[Job]]:
    """The arms, that of a proposed recipe which was given up without the seeds after that."""
    runs = arms[PROPOSED]
    trained = loop.ap(runs)
    return {**arms, PROPOSED: runs[: given_up_after(plan, loop.ap(arms["baseline"]), trained) or len(trained)]}


def _proposal(plan: Plan) -> Mapping[str, Any] | None:
    """What the proposed recipe changes, by parameter, in the words of the search space."""
    if not plan.proposed() or plan.start is None or plan.start.proposed is None:
        return None
    space = resolve(plan.space, plan.default_values)
    labels = space.encode(plan.start.proposed)
    return {name: label for name, label in labels.items() if label != space.default[name]}


def _until_decided(
    plan: AnyPlan,
    loop: Loop,
    jobs: Mapping[str, Sequence[Job]],
    arms_of: Callable[[AnyPlan], Mapping[str, Sequence[Job]]],
) -> Mapping[str, Sequence[Job]]:
    """The arms with seeds added to those whose verdict waits for them, from look to look, where the plan has more.

    An arm of which a run failed is given no more, nor is another for its sake: their verdict waits for that run.

    Args:
        arms_of: all arms' runs at a look.
    """
    while plan.max_seeds is not None and plan.seeds < plan.max_seeds:
        plan = plan.at(next_look(plan.seeds) or plan.max_seeds)
        whole = {arm: runs for arm, runs in jobs.items() if all(job.spec.signature in loop.records for job in runs)}
        needed = seeds_to_come(plan, {arm: loop.ap(runs) for arm, runs in whole.items()})
        more = {arm: runs[: max(needed.get(arm, 0), len(jobs[arm]))] for arm, runs in arms_of(plan).items()}
        added = [job for arm, runs in more.items() for job in runs[len(jobs[arm]) :]]
        if not added:
            break
        runs_once = {job.spec.signature: job for job in reversed(added)}  # the default recipe may be the tuned one
        loop.play(reversed(runs_once.values()))
        loop.play(job for job in added if job is not runs_once[job.spec.signature])
        jobs = more
    return jobs


def _play_comparison(plan: ComparisonPlan, settings: Settings, console: Console, json_file: Path | None) -> None:
    arms: Mapping[str, Sequence[Job]] = plan.arms()
    with playing(
        plan.name,
        plan.conditions,
        settings,
        console=console,
        runs=plan.run_count,
        params={"margin": plan.margin, "arms": ", ".join(arms)},
        tags={"seeds": plan.max_seeds or plan.seeds},
        weights=_prepared(_due(list_comparison(plan, settings.work_dir)), plan.conditions, settings),
        keeps_going=True,
    ) as loop:
        loop.play(itertools.chain(*arms.values()))
        arms = _until_decided(plan, loop, arms, ComparisonPlan.arms)
        folder = _folder(settings, plan)
        report = build_comparison(
            plan,
            arms,
            loop.records,
            failures=loop.failures,
            cost=_cost(loop),
            looks=Looks(folder),
            folders=loop.folders,
            known=PictureIntervals(folder),
        )
        figure = write_comparison(folder, report, loop.tracker)
    if json_file is not None:
        write_json(json_file, report.to_json())
    for table in comparison_tables(report):
        console.print(table)
    said = *report.notes, *report.sentences, *picture_lines(report.details), *divergence_lines(report.diverged)
    _say(console, said, report.reservations)
    _show(console, figure, viewers(settings))
    if report.failures:
        failed = "; ".join(f"{name}: {reason}" for name, reason in report.failures.items())
        asked = sum(map(len, arms.values()))
        raise UserError(f"{len(report.failures)} of {asked} runs failed: {failed}; {KEPT}")


def _due(runs: Iterable[ListedRun]) -> list[RunSpec]:
    """The specs of the runs that the next start trains."""
    return [run.job.spec for run in runs if run.is_due]


def _prepared(due: Sequence[RunSpec], given: Conditions, settings: Settings) -> Mapping[str, Path]:
    """Looks for room on the disk and for the backbones' weights, before any run starts; returns the weights' files."""
    room(due, given, settings, slots=run_slots(given, settings)).check()
    return backbone_weights((spec.detector for spec in due), settings)


def _cost(loop: Loop) -> Cost:
    return Cost(device_seconds=loop.device_seconds(), trained=loop.trained, reused=loop.reused)


def _folder(settings: Settings, plan: Plan | ComparisonPlan) -> Path:
    return settings.work_dir / "experiments" / plan.name / plan.conditions.key


def _say(console: Console, sentences: Iterable[str], reservations: Iterable[str]) -> None:
    for line in (*sentences, *(f"warning: {reservation}" for reservation in reservations)):
        console.print(line, highlight=False)


def _show(console: Console, figure: Path, commands: Iterable[str]) -> None:
    for line in (f"figure: {figure}", *commands):
        console.print(line, highlight=False, soft_wrap=True)
