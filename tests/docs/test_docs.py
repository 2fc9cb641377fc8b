"""The pages name only files, links, commands and flags that exist, and their lines stay short. Nothing is imported."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULT_TABLES = ROOT / "docs" / "results"  # its subfolders hold tables that programs write
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.parent != RESULT_TABLES),
]
WIDTH = 100
pytestmark = pytest.mark.fast
PACKAGES = ("echoforge_jax", "data_pipelines")
LINK = re.compile(r"\]\(([^)\s]+)\)")
INLINE_CODE = re.compile(r"`([^`\n]+)`")
PROJECT_PATH = re.compile(r"(?<![\w:./-])(?:\.ci|configs|data_pipelines|docs|echoforge_jax|scripts|tests)/[\w./-]*\w")
COMMAND = re.compile(r"(?:python -m |python )(\S+)|\b(echoforge) (?=\w)|(?:bash|sbatch) (?:.* )?(scripts/\S+)")
FLAG = re.compile(r"(?<!\S)--([\w.-]+)")
CONFIG_FIELD = re.compile(r"\bconfig((?:\.[a-z_]\w*)+)")
SBATCH = {  # options of SLURM that the pages name
    *("nodes", "partition", "account", "gpus-per-node", "ntasks-per-node", "cpus-per-task", "mem", "time"),
    *("job-name", "test-only"),
}
REMOVED = RESULT_TABLES / "removed_experiments.md"  # names fields and files of an earlier commit


def in_root(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_code(line: str) -> bool:
    return line.startswith("    ")


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def commands(page: Path) -> Iterator[str]:
    """The commands in code blocks (continued lines joined, comments cut off) and in inline code."""
    text = page.read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", text)
    blocks = [line.strip().partition(" # ")[0] for line in joined.splitlines() if is_code(line)]
    yield from (code for code in [*blocks, *INLINE_CODE.findall(text)] if COMMAND.search(code))


@functools.cache
def source_of(module: str) -> str:
    """The text of a project module and of all project modules that it imports, directly or not; "" if it is none."""
    todo, seen = [module], set()
    texts = []
    while todo:
        name = todo.pop()
        if name in seen or name.split(".")[0] not in PACKAGES:
            continue
        seen.add(name)
        path = ROOT / Path(*name.split("."))
        files = [path.with_suffix(".py"), path / "__init__.py", path / "__main__.py"]
        for file in (file for file in files if file.is_file()):
            texts.append(file.read_text(encoding="utf-8"))
            for base, names in re.findall(r"^\s*from ([\w.]+) import (\([^)]*\)|[^\n(]+)", texts[-1], re.MULTILINE):
                todo += [base, *(f"{base}.{name}" for name in re.findall(r"\w+", names))]
    return "\n".join(texts)


def flags_in(text: str) -> set[str]:
    """The names of the flags that a source text defines, by absl or argparse."""
    return set(re.findall(r"DEFINE\w*\(\s*(?:PATH,\s*)?\"(\w+)\"", text)) | set(re.findall(r"\"--([\w-]+)[\"{]", text))


def program_of(command: str) -> tuple[str, str]:
    """The name of the program that a command runs, and the text of its source ("" if it does not exist)."""
    found = COMMAND.search(command)
    assert found is not None
    target, console, script = found.groups()
    if console:
        name = command[found.end() :].split()[0]
        entry = re.search(rf'Subcommand\(\s*"{name}",\s*"([\w.]*)"', source_of("echoforge_jax.command"))
        return f"echoforge {name}", source_of(entry[1] or "echoforge_jax.command") if entry else ""
    if script or target.startswith("scripts/"):
        file = ROOT / (script or target)
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        imported = re.findall(r"(?:from|-m) ((?:echoforge_jax|data_pipelines)[\w.]*)", text)
        return script or target, "\n".join([text, *map(source_of, imported)])
    return target, source_of(target)


@functools.cache
def config_names() -> set[str]:
    """The names of the sections and fields of the configuration."""
    files = [*(ROOT / "echoforge_jax" / "config").glob("*.py"), *(ROOT / "data_pipelines").glob("*.py")]
    return set(re.findall(r"^    ([a-z]\w*): ", "\n".join(file.read_text(encoding="utf-8") for file in files), re.M))


@pytest.mark.parametrize("page", PAGES, ids=in_root)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{in_root(page)} links to {link}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{in_root(page)} links to {link}: {name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=in_root)
def test_every_named_file_exists(page: Path):
    for path in PROJECT_PATH.findall(page.read_text(encoding="utf-8")):
        is_placeholder = re.search(r"[A-Z]{4,}", path.replace("README", "").replace("LICENSE", ""))
        assert is_placeholder or (ROOT / path).exists(), f"{in_root(page)} names {path}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=in_root)
def test_lines_of_prose_are_short(page: Path):
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        free = is_code(line) or line.lstrip().startswith(("|", "!["))
        assert free or len(line) <= WIDTH, f"{in_root(page)}:{number} has {len(line)} characters, at most {WIDTH}"


@pytest.mark.parametrize("page", PAGES, ids=in_root)
def test_every_command_and_flag_exists(page: Path):
    for command in commands(page):
        program, source = program_of(command)
        if program.startswith(("-", '"')) or program.split()[-1].isupper():  # python -c, or a placeholder
            continue
        assert source, f"{in_root(page)} names {program}, which does not exist: {command}"
        for flag in FLAG.findall(command):
            known = flags_in(source)
            if program.startswith("scripts/") and program.endswith(("sh", "sbatch")):
                known |= SBATCH
            assert flag.split(".")[0] in known, f"{in_root(page)}: {program} has no flag --{flag}: {command}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != REMOVED], ids=in_root)
def test_every_field_of_the_configuration_exists(page: Path):
    for path in CONFIG_FIELD.findall(page.read_text(encoding="utf-8")):
        names = path.strip(".").split(".")
        if names in (["json"], ["py"], ["md"]):
            continue
        unknown = set(names) - config_names()
        assert not unknown, f"{in_root(page)} names config{path}, but {', '.join(unknown)} is no field"


@pytest.mark.parametrize("folder", [*PACKAGES, "configs", "scripts", "tests"])
def test_source_names_only_pages_that_exist(folder: str):
    for file in sorted((ROOT / folder).rglob("*.py")):
        for path in re.findall(r"\bdocs/[\w/]+\.md", file.read_text(encoding="utf-8")):
            assert (ROOT / path).is_file(), f"{file.relative_to(ROOT)} names {path}, which does not exist"
