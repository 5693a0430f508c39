"""The house rules that a machine can hold: who may import whom, how long a file gets, what the scripts and the project file look like."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("appliance", "firmware", "hw")
SOURCES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
WRITTEN = sorted(
    path.relative_to(ROOT)
    for folder in (*PACKAGES, "tests", "scripts", "image-build")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix in {"", ".py", ".sh", ".html", ".js", ".css"}
)
SCRIPTS = sorted(path.relative_to(ROOT) for folder in ("scripts", ".ci") for path in (ROOT / folder).iterdir() if path.is_file())

# A package may import those after it, never those before it.
MAY_IMPORT = {"appliance": {"appliance", "firmware", "hw"}, "firmware": {"firmware", "hw"}, "hw": {"hw"}}

# Bytes in, bytes out: nothing here reaches a socket, a file, a clock, a thread or chance.
WIRE_MAY_IMPORT = {
    "__future__",
    "array",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "firmware.wire",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "struct",
    "typing",
    "zlib",
}

# What opens a device, or takes long to load, is imported where the device is opened.
DEVICE_MODULES = {"av", "gi", "gpiod", "gpiozero", "picamera2", "systemd"}
AT_MODULE_LEVEL = ("hw/", "firmware/capture/")
NOT_AT_ALL = ("firmware/flow/", "firmware/net/", "firmware/wire/", "firmware/engine.py", "firmware/model.py", "appliance/web/")


def imported(path: Path, nodes: Iterator[ast.AST]) -> set[str]:
    """Full names of the modules that `nodes` of this file import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.with_suffix("").parts[: -node.level]) if node.level else ""
            names.add(".".join(part for part in (package, node.module) if part))
    return names


def all_imports(path: Path) -> set[str]:
    return imported(path, ast.walk(ast.parse((ROOT / path).read_text())))


def imports_at_load(path: Path) -> set[str]:
    """What merely importing the file imports: everything outside functions and `if TYPE_CHECKING`."""

    def outside(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield child
                yield from outside(child)

    return imported(path, outside(ast.parse((ROOT / path).read_text())))


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_packages_import_in_one_direction(path: Path) -> None:
    wrong = {name for name in all_imports(path) if top(name) in PACKAGES and top(name) not in MAY_IMPORT[path.parts[0]]}
    assert not wrong, f"{path} imports {wrong}: the direction is appliance, firmware, hw"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.is_relative_to("firmware/wire")], ids=str)
def test_wire_imports_no_socket_clock_or_thread(path: Path) -> None:
    wrong = {name for name in all_imports(path) if name not in WIRE_MAY_IMPORT and not name.startswith("firmware.wire.")}
    assert not wrong, f"{path} imports {wrong}: firmware/wire takes bytes and `now_ns` and gives bytes"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_devices_are_imported_where_they_are_opened(path: Path) -> None:
    place = path.as_posix()
    names = all_imports(path) if place.startswith(NOT_AT_ALL) else set() if place.startswith(AT_MODULE_LEVEL) else imports_at_load(path)
    wrong = {name for name in names if top(name) in DEVICE_MODULES}
    assert not wrong, f"{path} imports {wrong}: import it inside the function that opens the device"


@pytest.mark.parametrize("path", WRITTEN, ids=str)
def test_no_file_grows_beyond_450_lines(path: Path) -> None:
    if "static" in path.parts and path.name.endswith(".min.js"):
        pytest.skip("vendored")
    lines = len((ROOT / path).read_text().splitlines())
    assert lines <= 450, f"{path} has {lines} lines and wants splitting"


def test_every_folder_with_sources_is_a_named_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]["find"]["include"]) == {f"{package}*" for package in PACKAGES}
    assert set(project["tool"]["mypy"]["packages"]) == set(PACKAGES)
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"} == set(PACKAGES)
    bare = {str(path.parent) for path in SOURCES if not (ROOT / path).with_name("__init__.py").exists()}
    assert not bare, f"{bare} would be left out of the package; add __init__.py"


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    for needed in (*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)):
        line = next(line for line in text.splitlines() if f'"{needed}"' in line)
        assert re.search(r'",\s+# \w', line), f"{needed}: say behind it what it is for"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_links_of_the_documents_lead_somewhere(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_scripts_run_and_parse(path: Path) -> None:
    assert os.access(ROOT / path, os.X_OK), f"{path} lacks its run bit"
    if (ROOT / path).read_text().startswith("#!/usr/bin/env bash"):
        parsed = subprocess.run(["bash", "-n", ROOT / path], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("script", ["run", "test", "test-guest"])
def test_help_of_scripts_needs_no_setup(script: str, tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / script
    copy.parent.mkdir()
    copy.write_text((ROOT / "scripts" / script).read_text())
    told = subprocess.run(["bash", copy, "--help"], capture_output=True, text=True, check=True).stdout
    assert told.startswith(f"usage: scripts/{script}")
    assert "Exit codes" in told


def test_a_flow_worker_loads_nothing_that_is_slow_to_load() -> None:
    heavy = {"numpy", "av", "flask", "gunicorn", "asyncio", "multiprocessing"}
    told = f"import sys, firmware.flow.worker; print(*{heavy!r}.intersection(sys.modules))"
    assert subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split() == []
