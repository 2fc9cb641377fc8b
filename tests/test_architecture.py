"""The claims of docs/architecture.md: who imports whom, which module names a library, what is documented.

Everything but the last test reads the source and runs none of it.
"""

import ast
import re
import subprocess
import sys

import pytest

from tests.helpers.source_code import (
    REPOSITORY,
    cycles,
    dotted,
    explained,
    fields,
    importers,
    imports,
    modules,
    parameters,
    public_functions,
    python_files,
    room,
)

pytestmark = pytest.mark.fast

# An import goes down, or stays on its floor; the ground first.
FLOORS = (
    {"errors", "interruption", "provenance"},
    {"config", "distributed", "networks", "flags_help", "path_flags", "compilation_flags"},
    {"compilation"},
    {"console", "evaluation", "models"},
    {"weights", "report", "measurement"},
    {"training"},
    {"inference", "api"},
    {"scoring"},
    {"train", "evaluate", "export"},
    {"reproduction"},
    {"completion", "command", "__main__"},
)
FLOOR = {f"echoforge_jax.{name}": number for number, names in enumerate(FLOORS) for name in names}
JAX = ("jax", "flax", "optax", "orbax")
ONE_HOME = {
    "orbax": {"echoforge_jax.training.checkpoint", "echoforge_jax.weights.inference_folder"},
    "tensorboardX": {"echoforge_jax.training.run_log"},
    "grain": {"data_pipelines.batches"},
    "pydicom": {"data_pipelines.formats.cine.dicom"},
    "av": {f"data_pipelines.formats.video.{name}" for name in ("decoder", "grey", "source", "survey")},
}
"""A library and the only modules that name it, or the packages whose modules do."""


def test_every_module_stands_on_a_floor_and_imports_from_its_own_or_a_lower_one():
    rooms = {room(name) for name in modules() if name.startswith("echoforge_jax.")}
    assert rooms - FLOOR.keys() == set(), "name its floor in FLOORS"
    assert FLOOR.keys() - rooms == set(), "FLOORS names what is not there"
    assert [
        f"{name} imports {other}"
        for name in modules()
        for other in imports(name)
        if room(other) in FLOOR and FLOOR.get(room(name), len(FLOORS)) < FLOOR[room(other)]
    ] == []


def test_no_package_imports_in_a_circle():
    between: dict[str, set[str]] = {}
    for name in modules():
        others = {room(other) for other in imports(name) if other in modules()}
        between.setdefault(room(name), set()).update(others - {room(name)})
    assert cycles({name: others - set(("echoforge_jax", "data_pipelines")) for name, others in between.items()}) == []
    assert cycles({name: {*imports(name)} & modules().keys() - {name} for name in modules()}) == []


def test_the_data_pipelines_know_neither_the_models_nor_jax():
    ours = {name for name in modules() if room(name).startswith("data_pipelines")}
    for library in ("echoforge_jax", *JAX):
        assert ours & importers(library) == set(), library


@pytest.mark.parametrize("package", ["evaluation", "report", "measurement"])
def test_scores_and_reports_need_no_jax_no_model_and_no_training(package: str):
    ours = {name for name in modules() if room(name) == f"echoforge_jax.{package}"}
    for library in (*JAX, *(f"echoforge_jax.{name}" for name in ("models", "training", "weights", "inference"))):
        assert ours & importers(library) == set(), library


@pytest.mark.parametrize("library", ONE_HOME)
def test_a_library_has_one_home(library: str):
    homes = ONE_HOME[library]
    named = importers(library)
    assert {home for home in homes if any(f"{name}.".startswith(f"{home}.") for name in named)} == homes
    assert [name for name in named if not any(f"{name}.".startswith(f"{home}.") for home in homes)] == []


def test_the_start_of_several_processes_has_one_home():
    named = {name for name, tree in modules().items() if any(dotted(n) == "jax.distributed" for n in ast.walk(tree))}
    assert {room(name) for name in named | importers("jax.distributed")} == {"echoforge_jax.distributed"}


def test_meshes_and_shardings_are_made_in_one_module():
    makers = ("Mesh", "NamedSharding", "PartitionSpec", "make_mesh")
    made = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and dotted(node.func).split(".")[-1] in makers
        and dotted(node.func) != "sharding.make_mesh"
    }
    assert made == {"echoforge_jax.distributed.sharding"}


def test_no_function_is_a_named_lambda_and_no_line_escapes_the_formatter():
    assert [
        f"{file.relative_to(REPOSITORY)}:{node.lineno}"
        for file in python_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda)
    ] == []
    escape = re.compile(r"#\s*(fmt:\s*(skip|off)|type:\s*ignore)")
    assert [file for file in python_files() if escape.search(file.read_text(encoding="utf-8"))] == []


def test_no_file_names_a_folder_of_one_machine():
    folder = re.compile(r"""["'`\s=](/(?:home|root|work|Users|mnt/data|tmp)/[\w.-]+)""")
    found = {file: folder.findall(file.read_text(encoding="utf-8")) for file in python_files()}
    assert {str(file.relative_to(REPOSITORY)): paths for file, paths in found.items() if paths} == {}


def test_public_functions_explain_their_arguments():
    missing = {
        f"{name}: {', '.join(left)}"
        for module in modules()
        for name, function, docstring in public_functions(module)
        if len(parameters(function)) > 1
        and (left := [p for p in parameters(function) if p not in explained(docstring, "Args")])
    }
    assert sorted(missing) == []


def test_dataclasses_explain_their_fields():
    missing = [
        f"{module}.{node.name}: {', '.join(left)}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list)
        and (left := [f for f in fields(node) if f not in explained(ast.get_docstring(node) or "", "Attributes")])
    ]
    assert missing == []


@pytest.mark.parametrize("module", ["echoforge_jax", "echoforge_jax.inference", "echoforge_jax.models.echoforge"])
def test_the_library_is_light(module: str):
    heavy = "{'orbax', 'optax', 'tensorflow_datasets', 'grain', 'nibabel', 'matplotlib', 'tensorboardX', 'tensorflow'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
