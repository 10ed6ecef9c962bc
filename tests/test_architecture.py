"""The shape of the code: arrows between rooms point down, each outside library has an owner, modules stay readable."""

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "workspace"

# From the bottom up. A module imports from its own room and from lower floors; a new room gets its place here.
FLOORS = (
    ("errors", "redaction"),
    ("files", "journal", "precision.policy"),
    ("precision.__init__",),  # only hands the policy on
    ("spec", "matches"),
    ("devices",),
    ("detectors", "datasets", "precision"),
    ("training", "search", "tracking", "execution", "gap"),
    ("figures", "exported", "doctor", "diagnosis"),
    ("experiment",),
    ("orchestrator",),
    ("cli",),
    ("commands",),
    ("__main__",),
)

# The rooms that may import a library; numpy is everybody's.
OWNERS = {
    "click": {"cli", "commands", "__main__"},
    "cv2": {"datasets"},
    "faster_coco_eval": {"training"},
    "matplotlib": {"figures"},
    "mlflow": {"tracking"},
    "mmcv": {"training"},
    "mmdet": {"training"},
    "mmengine": {"training"},
    "ninja": {"precision"},
    "optuna": {"search"},
    "packaging": {"doctor"},
    "pandas": {"diagnosis", "tracking", "figures", "exported", "orchestrator"},
    "psutil": {"execution"},
    "pydantic": {"commands"},
    "pycocotools": {"datasets", "training"},
    "ray": {"execution"},
    "requests": {"tracking"},
    "rich": {"cli", "commands", "orchestrator"},
    "scipy": {"gap", "search"},
    "sqlalchemy": {"search", "tracking"},
    "torch": {"devices", "diagnosis", "doctor", "precision", "training"},
    "torch_npu": {"devices"},
}

LONGEST_MODULE = 350
LONGEST_EXPERIMENT = 40
VAGUE_NAME = re.compile(r"(?:.*_)?(?:utils?|common|helpers?|managers?|misc)")


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def module_name(file: Path) -> str:
    """``precision.half`` for ``workspace/precision/half.py``; a package's own module ends in ``.__init__``."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def room(module: str) -> str:
    """The longest entry of ``FLOORS`` that the module is, or lies in."""
    entries = [entry for floor in FLOORS for entry in floor if module == entry or module.startswith(f"{entry}.")]
    assert entries, f"workspace.{module} has no floor in {Path(__file__).name}"
    return max(entries, key=len)


def floor(module: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if room(module) in rooms)


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere in it, also inside functions and through ``import_module("name")``."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                yield "relative"
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def imported_modules(file: Path) -> set[str]:
    """Modules of the package that a file imports, named as by :func:`module_name`."""
    found = set()
    for name in imports(file):
        parts = name.split(".")[1:]
        if not name.startswith("workspace."):
            continue
        while (
            parts and not (PACKAGE / Path(*parts)).is_dir() and not (PACKAGE / Path(*parts)).with_suffix(".py").exists()
        ):
            parts.pop()  # the last part names something inside the module
        module = ".".join(parts)
        found.add(f"{module}.__init__" if module and (PACKAGE / Path(*parts)).is_dir() else module)
    return found - {""}  # the package itself holds nothing


@pytest.mark.parametrize("file", python_files("workspace"), ids=module_name)
def test_imports_point_down(file: Path) -> None:
    module = module_name(file)
    if module == "__init__":
        assert not imported_modules(file), "workspace/__init__.py is imported by every module"
        return
    upward = {
        target
        for target in imported_modules(file)
        if room(target).split(".")[0] != room(module).split(".")[0] and floor(target) >= floor(module)
    }
    assert not upward, f"workspace.{module} imports {sorted(upward)}, which lie on its floor or above"


def test_policy_is_below_the_rest_of_precision() -> None:
    for name in ("policy", "__init__"):
        targets = imported_modules(PACKAGE / "precision" / f"{name}.py")
        assert all(floor(target) < floor(f"precision.{name}") for target in targets), name


@pytest.mark.parametrize("file", python_files("workspace"), ids=module_name)
def test_outside_libraries_are_imported_by_their_owners_alone(file: Path) -> None:
    for name in imports(file):
        library = name.split(".")[0]
        if library in sys.stdlib_module_names or library in {"workspace", "numpy"}:
            continue
        assert library in OWNERS, f"{library} has no owner in {Path(__file__).name}"
        assert room(module_name(file)) in OWNERS[library], f"{library} belongs to {sorted(OWNERS[library])}"


@pytest.mark.parametrize("file", python_files("experiments"), ids=lambda file: file.stem)
def test_experiments_are_statements_on_the_command_line_and_the_experiment(file: Path) -> None:
    words = {"experiment", "cli", "detectors.__init__", "search.space", "search.spaces", "precision.__init__"}
    assert imported_modules(file) <= words
    assert {name.split(".")[0] for name in imports(file)} <= {"workspace"}
    assert ast.get_docstring(ast.parse(file.read_text())), "says its hypothesis, baseline, cost and commands"
    assert (lines := statement_lines(file)) < LONGEST_EXPERIMENT, f"{lines} lines of statement"


def statement_lines(file: Path) -> int:
    """Lines with code on them: without blank lines, comments and the module's docstring."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    with file.open("rb") as source:
        tokens = [
            token for token in tokenize.tokenize(source.readline) if token.type not in {*layout, tokenize.ENCODING}
        ]
    first = tokens[0].type == tokenize.STRING
    return len({line for token in tokens[first:] for line in range(token.start[0], token.end[0] + 1)})


@pytest.mark.parametrize("file", python_files("configs"), ids=lambda file: file.stem)
def test_configs_are_data(file: Path) -> None:
    statements = ast.parse(file.read_text()).body
    docstring = isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant)
    assert all(isinstance(statement, ast.Assign) for statement in statements[docstring:])


@pytest.mark.parametrize(
    "module",
    [
        "workspace.spec",
        "workspace.experiment",
        "workspace.cli",
        "workspace.__main__",
        *(f"experiments.{file.stem}" for file in python_files("experiments")),
    ],
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    heavy = {"torch", "mmengine", "mmcv", "mmdet", "mlflow", "optuna", "matplotlib", "pandas", "scipy", "ray"}
    source = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not heavy.intersection(loaded.split())


@pytest.mark.parametrize(
    "file",
    python_files("workspace", "experiments", "configs", "analysis", "benchmarks", "tests"),
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_modules_are_short_and_well_named(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_MODULE
    vague = [part for part in file.relative_to(ROOT).with_suffix("").parts if VAGUE_NAME.fullmatch(part)]
    assert not vague, f"{vague} says nothing about what is in it"
