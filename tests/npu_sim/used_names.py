"""The names of torch_npu that the project uses, read from its source, and whether a wheel of torch_npu has them."""

import ast
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, order=True)
class Use:
    """A name such as ``torch_npu.npu.amp.GradScaler``, and the keywords that it is called with."""

    name: str
    keywords: tuple[str, ...] = ()


def used_names(file: Path) -> set[Use]:
    """Every longest chain of attributes that starts at torch_npu or torch.npu, through local variables too."""
    tree = ast.parse(file.read_text())
    found: set[Use] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            found |= _used_in(function)
    # What goes on in a longer chain is no use of its own.
    return {use for use in found if use.keywords or not any(o.name.startswith(f"{use.name}.") for o in found)}


def _used_in(function: ast.FunctionDef) -> set[Use]:
    known: dict[str, str] = {}
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target, value in _pairs(node.targets[0], node.value):
                if isinstance(target, ast.Name) and (chain := _chain(value, known)):
                    known[target.id] = chain
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and (chain := _chain(node, known)):
            found.add(Use(chain))
        elif isinstance(node, ast.Call) and (chain := _chain(node.func, known)):
            found.add(Use(chain, tuple(sorted(keyword.arg for keyword in node.keywords if keyword.arg))))
    return found


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


def _chain(node: ast.expr, known: Mapping[str, str]) -> str | None:
    match node:
        case ast.Name(id="torch_npu"):
            return "torch_npu"
        case ast.Name(id=name):
            return known.get(name)
        case ast.Attribute(value=ast.Name(id="torch"), attr="npu"):
            return "torch_npu.npu"
        case ast.Call(func=ast.Attribute(attr="_torch_npu"), args=[]):  # the one place where it is imported
            return "torch_npu"
        case ast.Attribute(value=value, attr=attr) if owner := _chain(value, known):
            return f"{owner}.{attr}"
    return None


class Wheel:
    """The Python source of a wheel, looked at and never run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._trees: dict[str, ast.Module] = {}

    @cached_property
    def _sources(self) -> dict[str, str]:
        with zipfile.ZipFile(self._file) as content:
            names = [name for name in content.namelist() if name.endswith(".py")]
            return {name: content.read(name).decode() for name in names}

    def lacks(self, use: Use) -> str | None:
        """What of it is missing: a part of the name, or a keyword."""
        module, rest = self._deepest_module(use.name.split("."))
        if not rest:
            return None
        definition = self._definition(module, rest[0], set())
        if definition is None:
            return f"{module.replace('/', '.')}.{rest[0]}"
        if len(rest) > 1:  # an attribute of an object: its class must speak of it
            written = ast.dump(definition)
            return None if f"'{rest[1]}'" in written else ".".join(rest)
        missing = set(use.keywords) - _parameters(definition)
        return f"{use.name}({', '.join(sorted(missing))})" if missing else None

    def _deepest_module(self, parts: list[str]) -> tuple[str, list[str]]:
        path = parts[0]
        rest = parts[1:]
        while rest and self._module_file(f"{path}/{rest[0]}"):
            path, rest = f"{path}/{rest[0]}", rest[1:]
        return path, rest

    def _module_file(self, path: str) -> str | None:
        return next((file for file in (f"{path}/__init__.py", f"{path}.py") if file in self._sources), None)

    def _tree(self, file: str) -> ast.Module:
        if file not in self._trees:
            self._trees[file] = ast.parse(self._sources[file])
        return self._trees[file]

    def _definition(self, module: str, name: str, seen: set[tuple[str, str]]) -> ast.AST | None:
        """The class or function behind a module's name: defined there, imported, or made by calling a class."""
        file = self._module_file(module)
        if file is None or (file, name) in seen:  # modules import one another
            return None
        seen.add((file, name))
        package = file.rpartition("/")[0]
        for node in ast.walk(self._tree(file)):
            match node:
                case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined) if defined == name:
                    return node
                case ast.ImportFrom(module=source, names=aliases, level=level) if level or (source or "").startswith(
                    "torch_npu"
                ):
                    imported = [alias for alias in aliases if (alias.asname or alias.name) in (name, "*")]
                    base = package.rsplit("/", level - 1)[0] if level else ""
                    origin = "/".join(filter(None, (base, (source or "").replace(".", "/"))))
                    for alias in imported:
                        wanted = name if alias.name == "*" else alias.name
                        if found := self._definition(origin, wanted, seen):
                            return found
                case ast.Assign(targets=[ast.Name(id=assigned)], value=ast.Call(func=made_by)) if assigned == name:
                    owner, _, maker = ast.unparse(made_by).rpartition(".")
                    return self._definition(f"{package}/{owner}" if owner else module, maker, seen) or node
                case ast.Assign(targets=[ast.Name(id=assigned)]) if assigned == name:
                    return node
        return None


def _parameters(definition: ast.AST) -> set[str]:
    functions = [node for node in ast.walk(definition) if isinstance(node, ast.FunctionDef)]
    own = isinstance(definition, ast.FunctionDef)
    return {
        argument.arg
        for function in functions
        if own or function.name == "__init__"
        for argument in (*function.args.args, *function.args.kwonlyargs)
    }
