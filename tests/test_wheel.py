"""The wheel holds the whole package, says the truth about it, and works where it is installed alone."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from terminals import undecided_environment

import fpnas
from fpnas.version import __version__

ROOT = Path(__file__).parents[1]
SOURCES = Path(fpnas.__file__).parent
RUN_WITHOUT_SOURCES = """
import runpy, sys
script, *sources = sys.argv[1:]
sys.path = [place for place in sys.path if place not in sources]
sys.argv = [script, "brief"]
runpy.run_path(script, run_name="__main__")
"""
"""An environment of development has the source tree on its path."""

NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as for a release; the tree itself is left as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT / "src", copy / "src", ignore=NOT_SOURCES)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = (folder / "dist").glob("*.whl")
    return found


def metadata_of(wheel: Path) -> Metadata:
    """Its metadata, checked by the rules of the package index."""
    with zipfile.ZipFile(wheel) as archive:
        return Metadata.from_email(archive.read(f"fpnas-{__version__}.dist-info/METADATA"), validate=True)


def test_everything_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if name.startswith("fpnas/")}
    sources = [path for path in SOURCES.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert packed == {path.relative_to(SOURCES.parent).as_posix(): path.read_bytes() for path in sources}
    # That the set above is no empty one.
    for name in ("py.typed", "spaces/tiny.toml", "networks/fbnetv2-f1.json", "report/page.css", "report/page.js"):
        assert f"fpnas/{name}" in packed


def test_the_metadata_are_sound(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert (metadata.name, str(metadata.version)) == ("fpnas", __version__)
    assert (metadata.license_expression, metadata.license_files) == ("Apache-2.0", ["LICENSE"])
    assert metadata.description == (ROOT / "README.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.read(f"fpnas-{__version__}.dist-info/entry_points.txt").decode()
        assert archive.read(f"fpnas-{__version__}.dist-info/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert re.sub(r"\s", "", entries) == "[console_scripts]fpnas=fpnas.cli:main"


def test_the_version_stands_in_one_place_and_leads_the_changes() -> None:
    stating = [
        path.relative_to(ROOT).as_posix()
        for path in [
            *ROOT.glob("*.toml"),
            *ROOT.glob("*.cfg"),
            *(ROOT / "src").rglob("*.py"),
            *(ROOT / "docs").glob("*.md"),
        ]
        if f'"{__version__}"' in path.read_text(encoding="utf-8")
    ]
    assert stating == ["src/fpnas/version.py"]
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None and newest[1] == __version__


def test_what_is_imported_is_what_is_required(wheel: Path) -> None:
    distributions = packages_distributions()
    imported = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            imported |= {name.partition(".")[0] for name in names}
    required = {"runtime": set(), "completion": set()}
    for requirement in metadata_of(wheel).requires_dist:
        extra = re.search(r'extra == "(\w+)"', str(requirement.marker))
        if extra is None or extra[1] in required:
            required[extra[1] if extra else "runtime"].add(requirement.name)
    third_party = {
        name.lower() for module in imported - sys.stdlib_module_names - {"fpnas"} for name in distributions[module]
    }
    assert third_party - required["runtime"] == required["completion"] == {"shtab"}
    # Needed by torch for what is asked of it: TensorBoard's events and the ONNX exporter.
    assert required["runtime"] - third_party == {"onnxscript", "tensorboard"}


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel]
    subprocess.run([sys.executable, *install], check=True, timeout=120, cwd=tmp_path)
    environment = undecided_environment() | {"PYTHONPATH": str(place)}
    script = ROOT / "tests" / "installed_wheel.py"
    command = [sys.executable, "-c", RUN_WITHOUT_SOURCES, script, ROOT / "src", SOURCES.parent]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=400)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"fpnas {__version__} of {place / 'fpnas'}\n")
    program = subprocess.run(
        [place / "bin" / "fpnas", "--version"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=60,
    )
    assert (program.returncode, program.stdout) == (0, f"fpnas {__version__}\n")
