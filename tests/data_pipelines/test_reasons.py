"""Every reason of a refusal and every note: in the table, used in the code, and shown by one really broken file."""

import ast
from pathlib import Path

import pytest

from data_pipelines.doctor.diagnosis import diagnose
from data_pipelines.doctor.findings import MISSING, UNREADABLE
from data_pipelines.notes import NOTE_KINDS
from data_pipelines.reasons import REASONS
from tests.data_pipelines.broken import camus, cines, dicom, echonet, videos
from tests.data_pipelines.broken.use import BROKEN_IN_USE, NOTED_IN_USE

ROOT = Path(__file__).parents[2]
KINDS_OF_FILE = (cines, dicom, camus, echonet, videos)
BROKEN = {reason: make for kind in KINDS_OF_FILE for reason, make in kind.BROKEN.items()}
NOTED = {code: make for kind in KINDS_OF_FILE for code, make in kind.NOTED.items()}


@pytest.mark.parametrize("reason", BROKEN)
def test_the_doctor_names_the_reason_of_a_broken_file(reason, tmp_path):
    findings = diagnose(BROKEN[reason](tmp_path)).findings
    assert reason in {finding.title for finding in findings if finding.kind in (UNREADABLE, MISSING)}, findings


@pytest.mark.parametrize("reason", BROKEN_IN_USE)
def test_use_of_a_broken_record_is_refused_by_its_reason(reason, tmp_path):
    assert BROKEN_IN_USE[reason](tmp_path) == [reason]


@pytest.mark.parametrize("code", NOTED)
def test_the_doctor_shows_the_note_of_a_file(code, tmp_path):
    findings = diagnose(NOTED[code](tmp_path)).findings
    assert code in {finding.title for finding in findings}, findings


@pytest.mark.parametrize("code", NOTED_IN_USE)
def test_use_of_a_record_gives_its_note(code, tmp_path):
    assert code in NOTED_IN_USE[code](tmp_path)


def test_every_reason_and_every_note_has_a_file():
    assert BROKEN.keys() | BROKEN_IN_USE.keys() == REASONS.keys()
    assert NOTED.keys() | NOTED_IN_USE.keys() == NOTE_KINDS.keys()


def trees_of_the_code():
    for package in ("data_pipelines", "echoforge_jax"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name not in ("reasons.py", "notes.py"):
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def texts(node):
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def given(call, position, name):
    """The texts that a call may give for one of its parameters."""
    nodes = [keyword.value for keyword in call.keywords if keyword.arg == name]
    nodes += call.args[position : position + 1]
    return {text for node in nodes if isinstance(node, ast.Constant | ast.IfExp) for text in literals(node)}


def literals(node):
    if isinstance(node, ast.IfExp):
        return literals(node.body) | literals(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_the_code_gives_reasons_and_notes_of_the_tables_alone():
    for path, tree in trees_of_the_code():
        position = {"UnreadableRecord": 1, "Skipped": 1}
        for node in ast.walk(tree):  # helpers that pass a reason on
            if isinstance(node, ast.FunctionDef) and "reason" in (
                names := [a.arg for a in node.args.args if a.arg != "self"]
            ):
                position[node.name] = names.index("reason")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name in position:
                assert given(call, position[name], "reason") <= REASONS.keys(), (path, call.lineno)
            if name == "note":
                assert given(call, 0, "code") <= NOTE_KINDS.keys(), (path, call.lineno)


def test_every_entry_of_the_tables_is_used():
    used = set().union(*(texts(tree) for _, tree in trees_of_the_code()))
    assert not REASONS.keys() - used and not NOTE_KINDS.keys() - used
