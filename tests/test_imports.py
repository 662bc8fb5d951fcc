"""Imports run one way: from the edge to the core, and from `assembler` to `layers`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p for name in ("layers", "assembler") for p in (ROOT / name).rglob("*.py"))

# From core to edge; a module imports from its own row and the rows above it, never from below.
LAYERS = (
    {
        "errors",
        "kinds",
        "leftovers",
        "decimals",
        "regular",
        "jsontext",
        "challenges",
        "urls",
        "abridged",
        "pace",
    },
    {"digest", "limits", "tarheader", "tarnames", "tempfiles", "web", "storetrust"},
    {"reference", "descriptor", "sparse", "codec", "tokens", "aufs"},
    {"tarindex", "configcheck"},
    {"image", "tree", "choice"},
    {"merge", "tarwriter", "spool", "store", "auth"},
    {"layerwriter"},
    {
        "tarstream",
        "session",
        "layout",
        "archive",
        "registry",
        "scratch",
        "imageinfo",
        "imagepaths",
        "changes",
        "naming",
        "treesize",
    },
    {"sources", "rootfs", "imagefile", "imagecopy"},
    {"imagefs"},
    {"opener"},
)
PURE = {
    "treesize",
    "abridged",
    "aufs",
    "digest",
    "reference",
    "descriptor",
    "image",
    "limits",
    "kinds",
    "tarheader",
    "tarnames",
    "sparse",
    "tree",
    "merge",
    "choice",
    "jsontext",
    "challenges",
    "urls",
    "decimals",
    "configcheck",
}
IO = {"os", "socket", "subprocess", "requests", "tempfile", "shutil", "pathlib", "fs", "oras"}


def imported(path):
    """Every module that *path* imports, also inside functions and for types alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def at_run_time(path):
    """What *path* imports outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body if not isinstance(node, ast.If)]
    names = set()
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layers_never_imports_assembler(path):
    if path.is_relative_to(ROOT / "layers"):
        assert not {name for name in imported(path) if name.split(".")[0] == "assembler"}


def test_every_module_of_layers_has_a_place():
    found = {path.stem for path in MODULES if path.parent.name == "layers"} - {"__init__"}
    assert found == set().union(*LAYERS)


@pytest.mark.parametrize("row", range(len(LAYERS)))
def test_layers_imports_from_the_edge_to_the_core(row):
    allowed = set().union(*LAYERS[: row + 1])
    for name in LAYERS[row]:
        used = {
            full.split(".")[1]
            for full in at_run_time(ROOT / "layers" / f"{name}.py")
            if full.startswith("layers.")
        }
        assert used & set().union(*LAYERS) <= allowed, name


@pytest.mark.parametrize("name", sorted(PURE))
def test_the_core_does_no_io(name):
    roots = {full.split(".")[0] for full in at_run_time(ROOT / "layers" / f"{name}.py")}
    assert not roots & IO


def test_the_dockerfile_package_knows_text_only():
    for path in (ROOT / "assembler" / "dockerfile").glob("*.py"):
        used = imported(path)
        assert not {name.split(".")[0] for name in used} & (IO | {"layers"}), path
        ours = {name for name in used if name.startswith("assembler.")}
        assert all(name.startswith(("assembler.dockerfile", "assembler.errors")) for name in ours)


SANDBOX = ROOT / "assembler" / "sandbox"
SHARED_WITH_THE_PROGRAM = {
    "layers", "layers.tarwriter", "layers.tarheader", "layers.sparse", "layers.kinds",
    "layers.tree", "layers.errors", "layers.limits",
}  # fmt: skip


def needed_by(module):
    """All modules that are imported when *module* is: each package's `__init__`, too."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        path = ROOT / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.is_file():
            continue  # the standard library's, or a name in a module
        todo += [name.rpartition(".")[0]] if "." in name else []
        todo += at_run_time(file)
    return found


def test_the_sandboxs_program_needs_little_beside_the_standard_library():
    needed = needed_by("assembler.sandbox.program")
    for name in needed - SHARED_WITH_THE_PROGRAM - {"assembler"}:
        first, _, rest = name.partition(".")
        if first == "assembler":
            assert rest.split(".")[0] == "sandbox", name
        elif first == "layers":
            assert name.rpartition(".")[0] in SHARED_WITH_THE_PROGRAM, name
        else:
            assert first in sys.stdlib_module_names, name
    assert "assembler.sandbox.unpacking" in needed
    assert not needed & {"assembler.errors", "assembler.sandbox.runner", "assembler.sandbox.ladder"}


def test_the_sandbox_knows_nothing_of_who_builds():
    for path in SANDBOX.glob("*.py"):
        ours = {name for name in imported(path) if name.startswith("assembler.")}
        assert all(name.startswith(("assembler.sandbox", "assembler.errors")) for name in ours), (
            path
        )


def test_only_the_command_line_imports_the_command_line():
    for path in MODULES:
        if path.parent.name != "cli" and path.name != "__main__.py":  # which is its entry point
            assert not {name for name in imported(path) if name.startswith("assembler.cli")}, path
