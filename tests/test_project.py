"""The project's own files agree with one another: dependencies, environments, commands in the documents."""

import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from test_architecture import OWNERS

ROOT = Path(__file__).parents[1]
NOT_PYTHON = {"python", "pip", "c-compiler", "cxx-compiler", "make"}
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> dict[str, Requirement]:
    """By canonical name: the dependencies and those of the extra ``dev``, the two that CI installs."""
    listed = [*project()["dependencies"], *project()["optional-dependencies"]["dev"]]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, listed)}


def constraints() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def test_imported_libraries_are_listed() -> None:
    """What the package imports is in pyproject.toml itself, not only brought along by something that is."""
    listed = {canonicalize_name(Requirement(entry).name) for entry in project()["dependencies"]}
    for extra in ("npu", "cluster"):
        listed |= {canonicalize_name(Requirement(entry).name) for entry in project()["optional-dependencies"][extra]}
    distributions = packages_distributions()
    for library in OWNERS:
        names = {canonicalize_name(name) for name in distributions.get(library, [library])}
        assert names & listed, f"{library} (of {sorted(names)}) is imported and not listed"


def test_every_dependency_has_a_tested_version_that_its_range_allows() -> None:
    tested = constraints()
    for name, requirement in requirements().items():
        assert name in tested, f"constraints.txt lacks {name}"
        assert tested[name] in requirement.specifier, (
            f"constraints.txt: {name}=={tested[name]} is outside {requirement}"
        )


def test_torch_is_pinned_without_a_build() -> None:
    """A pin on ``+cpu`` would refuse everybody else's build of the same version."""
    assert constraints()["torch"].local is None


def test_both_distributions_of_opencv_have_one_version() -> None:
    """The set-up lays the headless one over the other: they share their files."""
    tested = constraints()
    assert tested["opencv-python"] == tested["opencv-python-headless"]


def test_conda_environment_names_no_python_package() -> None:
    """The list of those is in pyproject.toml alone."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    names = {
        re.split(r"[\s=<>!~]", entry)[0] if isinstance(entry, str) else entry for entry in environment["dependencies"]
    }
    assert names <= NOT_PYTHON


def test_conda_environment_has_a_python_that_the_project_allows() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = (entry for entry in environment["dependencies"] if entry.startswith("python="))
    assert Version(python.removeprefix("python=")) in SpecifierSet(project()["requires-python"])


def test_setup_takes_the_pythons_that_the_project_allows() -> None:
    bounds = re.search(
        r"\((\d+), (\d+)\) <= sys.version_info < \((\d+), (\d+)\)", (ROOT / "tools" / "setup").read_text()
    )
    assert bounds
    low_major, low_minor, high_major, high_minor = bounds.groups()
    assert SpecifierSet(project()["requires-python"]) == SpecifierSet(
        f">={low_major}.{low_minor},<{high_major}.{high_minor}"
    )


def test_ci_runs_the_developers_commands() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line.removesuffix(" </dev/null") for line in lines if line.startswith("make ")] == [
        "make test",
        "make test-npu",
    ]


def code(document: Path) -> list[str]:
    """Blocks and spans of code; a command that goes on after a backslash is one line."""
    spans = re.findall(r"```.*?```|`[^`]+`", document.read_text(), re.DOTALL)
    return [span.strip("`").replace("\\\n", " ") for span in spans]


@documents
def test_documents_name_targets_that_exist(document: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    named = {target for span in code(document) for target in re.findall(r"\bmake ([a-z][a-z-]*)", span)}
    assert named <= targets


@documents
def test_documents_link_to_files_and_headings_that_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        name, _, heading = target.partition("#")
        if "://" in name:
            continue
        file = document.parent / name if name else document
        assert file.exists(), f"{target}: there is no such file"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{target}: no such heading"


@documents
def test_documents_call_programs_and_options_that_exist(document: Path) -> None:
    for line in (line for span in code(document) for line in span.splitlines()):
        called = re.search(r"\bpython (-m workspace [a-z]+(?: [a-z]+)?|[a-z]+/[a-z0-9_]+\.py)(.*)", line)
        if called is None:
            continue
        program, rest = called.groups()
        if program.endswith(".py"):
            assert (ROOT / program).exists(), line
        if program.startswith(("-m", "experiments")):
            options = set(re.findall(r"(?<= )--[a-z][a-z-]*", rest.partition("#")[0]))
            assert options <= known_options(program), line


@cache
def known_options(program: str) -> set[str]:
    """What its --help lists."""
    command = [sys.executable, *program.split(), "--help"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z][a-z-]*", told))


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    """Tracked text has no absolute path into a home, a work or a scratch folder; notebooks' outputs included."""
    place = re.compile(r"(?<![\w.$}~/-])/(?:home|root|Users|work|mnt|scratch|tmp/w)/\w")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = []
    for name in filter(None, tracked.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            lines = content.decode().splitlines()
            found += [f"{name}:{number}" for number, line in enumerate(lines, start=1) if place.search(line)]
    assert not found
