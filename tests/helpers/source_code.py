"""The project's modules as syntax trees: who imports whom, what they call and what their docstrings explain."""

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("echoforge_jax", "data_pipelines")


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Returns the syntax tree of each module of the two packages by its dotted name."""
    files = {file.relative_to(REPOSITORY): file for name in PACKAGES for file in (REPOSITORY / name).rglob("*.py")}
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): file for path, file in files.items()}
    return {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in sorted(names.items())}


def python_files() -> list[Path]:
    """Returns every Python file of the repository, tests and scripts among them."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [file for name in listed.stdout.splitlines() if (file := REPOSITORY / name).is_file()]
    folders = ("echoforge_jax", "data_pipelines", "tests", "scripts", "configs")  # an unpacked archive
    return sorted(file for folder in folders for file in (REPOSITORY / folder).rglob("*.py"))


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Returns the dotted names a module imports, at its top or in a function: modules where they are ours."""
    known, names = modules(), set()
    for node in ast.walk(known[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = (node.module or "").split(".")[0] in PACKAGES
            names |= {name if name in known else str(node.module) for name in whole} if ours else whole
    return frozenset(names)


def room(module: str) -> str:
    """Returns the package or single module directly under one of the two packages that a module lies in."""
    return ".".join(module.split(".")[:2])


def importers(library: str) -> set[str]:
    """Returns the modules that import a library or a part of it, by a dotted prefix."""
    return {name for name in modules() if any(f"{found}.".startswith(f"{library}.") for found in imports(name))}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Returns the groups of nodes that reach one another."""

    def reachable(start: str) -> set[str]:
        seen, waiting = set(), list(graph.get(start, ()))
        while waiting:
            if (node := waiting.pop()) not in seen:
                seen.add(node)
                waiting += graph.get(node, ())
        return seen

    reach = {node: reachable(node) for node in graph}
    groups = {tuple(sorted({m for m in reach[n] if n in reach.get(m, ())})) for n in graph if n in reach[n]}
    return sorted(map(list, groups))


def dotted(node: ast.AST) -> str:
    """Returns `a.b.c` of a name or an attribute, or an empty text."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def public_functions(module: str) -> Iterator[tuple[str, ast.FunctionDef, str]]:
    """Yields the dotted name, the definition and the docstring of each public function, method and constructor.

    A constructor's arguments may be explained in the docstring of its class.
    """

    def walk(body: list[ast.stmt], prefix: str, owner: str) -> Iterator[tuple[str, ast.FunctionDef, str]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from walk(node.body, f"{prefix}.{node.name}", ast.get_docstring(node) or "")
            elif isinstance(node, ast.FunctionDef):
                public = node.name in ("__init__", "__call__") or not node.name.startswith("_")
                if public and "overload" not in map(dotted, node.decorator_list):
                    own = ast.get_docstring(node) or ""
                    yield f"{prefix}.{node.name}", node, f"{owner}\n{own}" if node.name == "__init__" else own

    yield from walk(modules()[module].body, module, "")


def parameters(function: ast.FunctionDef) -> list[str]:
    """Returns the names of a function's parameters without `self` and `cls`."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls") and argument.arg[0] != "_"]


def explained(docstring: str, section: str) -> set[str]:
    """Returns the names that a section of a Google-style docstring explains: `name: ...` or `name, other: ...`."""
    names: set[str] = set()
    for block in re.findall(rf"^( *){section}:\n((?:\1 +.*\n|\s*\n)+)", f"{docstring}\n", re.M):
        for heads in re.findall(r"^ *([*\w][*\w, ]*?)(?: \([^)]*\))?:(?:\s|$)", block[1], re.M):
            names |= {name.strip(" *`") for name in heads.split(",")}
    return names


def fields(definition: ast.ClassDef) -> list[str]:
    """Returns the public fields of a dataclass or NamedTuple, as its class body annotates them."""
    annotated = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
    names = [
        node.target.id for node in annotated if isinstance(node.target, ast.Name) and "ClassVar" not in ast.dump(node)
    ]
    return [name for name in names if not name.startswith("_")]
