"""Imports go to the same level or a lower one, never up, and without cycles; what is light stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fpnas

SOURCES = Path(fpnas.__file__).parent

# The levels of the design. A module that is not listed, by itself or by its package, fails the test:
# whoever adds one decides where it belongs.
LEVELS: dict[int, tuple[str, ...]] = {
    1: (
        "fpnas.architecture",
        "fpnas.builtin_files",
        "fpnas.checks",
        "fpnas.errors",
        "fpnas.files",
        "fpnas.launcher",
        "fpnas.network_file",
        "fpnas.network_spec",
        "fpnas.quantities",
        "fpnas.run_options",
        "fpnas.space",
        "fpnas.space_file",
        "fpnas.stem_and_head",
        "fpnas.timm_strings",
        "fpnas.version",
    ),
    2: (
        "fpnas.budget_sampling",
        "fpnas.constrained_paths",
        "fpnas.cost.*",
        "fpnas.derivation",
        "fpnas.distribution",
        "fpnas.gates",
        "fpnas.lagrangian",
        "fpnas.network_summary",
        "fpnas.objective",
        "fpnas.sampling",
        "fpnas.space_summary",
    ),
    3: ("fpnas.nn.*",),
    4: ("fpnas.model_card", "fpnas.model_folder", "fpnas.runtime.*", "fpnas.timm_models", "fpnas.training.*"),
    5: ("fpnas.strategies.*",),
    6: (
        "fpnas.derive",
        "fpnas.finished_search",
        "fpnas.initial_weights",
        "fpnas.objective_evaluator",
        "fpnas.objective_search",
        "fpnas.restarts",
        "fpnas.restarts_config",
        "fpnas.search_config",
        "fpnas.search_loop",
        "fpnas.search_result",
        "fpnas.select",
        "fpnas.select_config",
        "fpnas.supernet_evaluator",
        "fpnas.supernet_search",
        "fpnas.train",
        "fpnas.train_config",
        "fpnas.train_loop",
        "fpnas.train_result",
    ),
    7: (
        "fpnas",
        "fpnas.__main__",
        "fpnas.cli",
        "fpnas.cli_completion",
        "fpnas.cli_parser",
        "fpnas.cli_tables",
        "fpnas.commands.*",
        "fpnas.export",
        "fpnas.export_images",
        "fpnas.int8",
        "fpnas.onnx_model",
        "fpnas.predict",
        "fpnas.report.*",
        "fpnas.text_table",
        "fpnas.timm_registration",
    ),
}


def level_of(module: str) -> int:
    """Level of a module; KeyError when it was never placed."""
    for level, names in LEVELS.items():
        for name in names:
            package = name.removesuffix(".*")
            if module == package or (package != name and module.startswith(package + ".")):
                return level
    raise KeyError(f"{module} has no level: place it in LEVELS")


def modules(root: Path) -> dict[str, Path]:
    """Every module under a package's directory, by its dotted name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(path: Path, module: str) -> Iterator[str]:
    """Dotted names that a module imports anywhere in its text: at the top, in functions, for types only."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def import_graph(root: Path) -> dict[str, set[str]]:
    """Edges from each module to the modules of the same package that it imports."""
    found = modules(root)
    return {
        # Whatever is imported from it, the package itself is imported, too.
        module: {name for name in imported_names(path, module) if name in found and name not in (module, root.name)}
        for module, path in found.items()
    }


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that lead to a higher level."""
    return [
        f"{module} (L{level_of(module)}) imports {target} (L{level_of(target)})"
        for module, targets in graph.items()
        for target in sorted(targets)
        if level_of(target) > level_of(module)
    ]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one found; empty when there is none."""
    remaining = dict(graph)
    while True:
        leaves = [module for module, targets in remaining.items() if not targets & remaining.keys()]
        if not leaves:
            break
        for module in leaves:
            del remaining[module]
    if not remaining:
        return []
    path = [next(iter(remaining))]
    while path.count(path[-1]) == 1:
        path.append(next(iter(sorted(remaining[path[-1]] & remaining.keys()))))
    return path[path.index(path[-1]) :]


def test_every_module_has_a_level() -> None:
    for module in modules(SOURCES):
        level_of(module)


def test_every_level_names_modules_that_exist() -> None:
    found = modules(SOURCES)
    listed = {name.removesuffix(".*") for names in LEVELS.values() for name in names}
    assert listed <= found.keys()


def test_no_import_leads_up() -> None:
    assert upward(import_graph(SOURCES)) == []


def test_no_import_cycle() -> None:
    assert cycle(import_graph(SOURCES)) == []


def test_strategies_see_no_files_data_or_configuration() -> None:
    forbidden = ("fpnas.files", "fpnas.runtime", "fpnas.training", "fpnas.search_", "fpnas.supernet_", "fpnas.train")
    for module, targets in import_graph(SOURCES).items():
        if module.startswith("fpnas.strategies"):
            assert [target for target in targets if target.startswith(forbidden)] == [], module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A small package named fpnas, to see that the checks above find what they are for."""
    root = tmp_path / "fpnas"
    for name, text in {
        "__init__.py": "",
        "errors.py": "",
        "space.py": "from fpnas.errors import UserError",
        "nn/__init__.py": "",
        "nn/network.py": "from fpnas import space",
        "search_loop.py": "def f():\n    import fpnas.nn.network",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_sound_package_passes(package: Path) -> None:
    graph = import_graph(package)
    assert graph["fpnas.nn.network"] == {"fpnas.space"}
    assert graph["fpnas.search_loop"] == {"fpnas.nn.network"}
    assert upward(graph) == [] and cycle(graph) == []


@pytest.mark.parametrize(
    "text",
    [
        "from fpnas.search_loop import run",
        "def f():\n    from fpnas import search_loop",
        "def f():\n    import fpnas.search_loop as loop",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fpnas.search_loop import run",
        "from . import search_loop",
        "from .search_loop import run",
        "import importlib\nloop = importlib.import_module('fpnas.search_loop')",
    ],
)
def test_an_import_that_leads_up_is_found(package: Path, text: str) -> None:
    (package / "errors.py").write_text(text)
    assert upward(import_graph(package)) == ["fpnas.errors (L1) imports fpnas.search_loop (L6)"]


@pytest.mark.parametrize("text", ["from fpnas.space import Choice", "def f():\n    from . import space"])
def test_a_cycle_within_a_level_is_found(package: Path, text: str) -> None:
    (package / "errors.py").write_text(text)
    graph = import_graph(package)
    assert upward(graph) == []
    assert set(cycle(graph)) == {"fpnas.errors", "fpnas.space"}


def test_a_module_without_a_level_is_found() -> None:
    with pytest.raises(KeyError, match="has no level"):
        level_of("fpnas.unheard_of")


LIGHT = (
    "fpnas",
    "fpnas.errors",
    "fpnas.space_file",
    "fpnas.network_file",
    "fpnas.cost.counts",
    "fpnas.network_summary",
    "fpnas.search_config",
    "fpnas.train_config",
    "fpnas.cli",
)
HEAVY = ("numpy", "onnx", "onnxruntime", "sklearn", "tensorboard", "timm", "torch", "torchvision")


def test_light_modules_import_nothing_heavy() -> None:
    code = f"import sys, {', '.join(LIGHT)}; print([n for n in {HEAVY!r} if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr
