"""What comes from outside is never run: no file is unpickled, no text is evaluated, anywhere in the project."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for room in ("workspace", "benchmarks", "tools") for path in (ROOT / room).rglob("*.py"))

RUNS_CODE = {
    *(f"{module}.{name}" for module in ("pickle", "marshal", "joblib", "cloudpickle") for name in ("load", "loads")),
    "eval",
    "exec",
    "mmengine.load",
    "torch.hub.load",
    "yaml.load",
    "Config.fromstring",
    "Config.fromfile",
    "init_detector",
    "load_checkpoint",
}

ALLOWED = {
    "benchmarks/half_arithmetic.py": {"Config.fromfile"},  # of MMDetection
    "workspace/execution/host.py": {"pickle.loads"},  # a call, from the orchestrator through Ray
    "workspace/execution/worker.py": {"pickle.loads"},  # the same through the fork server
    "workspace/training/data.py": {"pickle.loads"},  # samples that this process has pickled
    "workspace/training/config.py": {"Config.fromfile"},  # of configs/
    "workspace/training/flops.py": {"Config.fromfile"},  # the same
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def renamed(path: Path) -> list[str]:
    """Loaders that an import gives another name, by which the calls above would not be seen."""
    modules = {"torch", "pickle", "marshal", "joblib", "cloudpickle", "yaml", "mmengine"}
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom | ast.Import)]
    plain = {alias.name for node in imports for alias in node.names if isinstance(node, ast.Import) and alias.asname}
    loads = {
        alias.name
        for node in imports
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
    }
    return sorted((plain & modules) | (loads & {"load", "loads"}))


def is_safe(load: ast.Call) -> bool:
    return any(
        keyword.arg == "weights_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in load.keywords
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_loaded_without_running_code(path: Path) -> None:
    found = list(calls(path))
    unsafe = [node.lineno for name, node in found if name == "torch.load" and not is_safe(node)]
    assert not unsafe, f"torch.load without weights_only=True in lines {unsafe}"
    used = {name for name, _ in found} & RUNS_CODE
    assert not renamed(path)
    assert used == ALLOWED.get(str(path.relative_to(ROOT)), set())


def test_the_check_sees_what_it_forbids(tmp_path: Path) -> None:
    source = tmp_path / "unsafe.py"
    source.write_text("torch.load(a)\ntorch.load(a, weights_only=False)\ntorch.load(a, weights_only=True)\n")
    assert [is_safe(node) for name, node in calls(source) if name == "torch.load"] == [False, False, True]
