"""Imports run one way: from the edge to the core, and from `assembler` to `layers`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p for name in ("layers", "assembler") for p in (ROOT / name).rglob("*.py"))

# From core to edge; a module imports from its own row and the rows above it, never from below.
LAYERS = (
    {"errors"},
    {"digest", "limits", "tarheader", "tempfiles"},
    {"reference", "descriptor", "tarindex", "codec"},
    {"image", "tree"},
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
    },
    {"sources", "rootfs", "imagefile", "imagecopy"},
    {"imagefs"},
    {"opener"},
)
PURE = {"digest", "reference", "descriptor", "image", "limits", "tarheader", "tree", "merge"}
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


def test_only_the_command_line_imports_the_command_line():
    for path in MODULES:
        if path.parent.name != "cli":
            assert not {name for name in imported(path) if name.startswith("assembler.cli")}, path
