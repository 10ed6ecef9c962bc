"""The command line is closed: what it takes is written down here once more, so that no change to it goes unseen."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from workspace.cli import _OPTIONS

EXPERIMENTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))


def test_the_options_of_an_experiment_are_frozen() -> None:
    seen: dict[str, object] = {}

    def command(**values: object) -> None:
        seen.update(values)

    for option in _OPTIONS:
        command = option(command)
    built = click.command(command)
    built.main([], standalone_mode=False)
    frozen = {
        "--scale": "demo",
        "--data": None,
        "--weights": None,
        "--device": "auto",
        "--workers": None,
        "--devices-per-run": 1,
        "--executor": "local",
        "--address": None,
        "--keep": "best",
        "--trials": None,
        "--diagnosis": None,
        "--fidelity": None,
        "--seeds": None,
        "--max-seeds": None,
        "--tune-baseline": False,
        "--tracking-uri": None,
        "--storage": None,
        "--work-dir": Path("work"),
        "--plan": False,
        "--json": None,
    }
    assert {parameter.opts[0]: seen[str(parameter.name)] for parameter in built.params} == frozen
    choices = {p.opts[0]: list(p.type.choices) for p in built.params if isinstance(p.type, click.Choice)}
    assert choices == {
        "--scale": ["demo", "full"],
        "--device": ["auto", "cpu", "cuda", "npu"],
        "--executor": ["local", "ray"],
        "--keep": ["last", "best", "all"],
    }


@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.stem)
def test_help_states_the_question_and_loads_nothing_heavy(script: Path) -> None:
    heavy = "{'torch', 'mmdet', 'mmengine', 'mlflow', 'optuna', 'pandas', 'matplotlib'}"
    code = f"""
import atexit, runpy, sys
atexit.register(lambda: print("loaded:", sorted({heavy} & set(sys.modules))))
sys.argv = [{str(script)!r}, "--help"]
exec(compile(open({str(script)!r}).read(), {str(script)!r}, "exec"), {{"__name__": "__main__"}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
    helped = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    question = script.read_text().split('"""')[1].splitlines()[0]
    assert question in " ".join(helped.stdout.split())


@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_is_named_as_its_script(script: Path) -> None:
    assert f'name="{script.stem}"' in script.read_text()


@pytest.mark.parametrize(
    "options",
    [("--workers", "0"), ("--scale", "huge"), ("--gpus", "1"), ("--seeds", "many"), ("--fidelity", "schedule=3")],
)
def test_wrong_options_are_one_line(options: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, str(EXPERIMENTS[0]), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert options[0] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
