"""A plain `pip install interlock` stays small and works: at most 16 distributions and 40 MB.

Needs no network: the empty environment gets the wheel built here, and the locked distributions that its metadata ask
for are copied, file by file, from the environment the tests run in.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MOST_DISTRIBUTIONS = 16
MOST_BYTES = 40_000_000  # as the wheels ship them; Python's byte code comes on top, about a fifth


def run(*command: str | Path) -> str:
    """Return the output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def closure(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """Return the installed distributions that some requirements need, with all that those need."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name not in found:
            found[name] = metadata.distribution(name)
            wanted = ["", *requirement.extras]
            waiting += [(Requirement(text), extra) for text in found[name].requires or [] for extra in wanted]
    return found


def size(folder: Path) -> int:
    """Return the bytes of a folder's files, byte code left out."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target)
    (built,) = target.glob("interlock-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment that holds the core and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        needed = metadata.PathDistribution(zipfile.Path(archive, name.removesuffix("METADATA"))).requires or []
    for distribution in closure(needed).values():
        for file in distribution.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), site / file)
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", wheel]
    run(sys.executable, "-m", "pip", "--python", folder / "bin/python", *install)
    return folder


def test_wheel_holds_what_the_package_needs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    package = {name for name in names if not name.startswith("interlock-")}
    assert "interlock/py.typed" in package
    migrations = sorted((ROOT / "src/interlock/store/migrations").glob("*.sql"))
    example = [f"interlock/examples/employment/{name}" for name in ("interlock.toml", "pipeline.py", "data/README.md")]
    wanted = {*example, *(f"interlock/store/migrations/{path.name}" for path in migrations)}
    assert wanted - package == set()
    assert [name for name in package if not name.startswith("interlock/")] == []
    assert [name for name in package if ".interlock/" in name or "__pycache__" in name or name.endswith(".pyc")] == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_core_is_small(environment: Path) -> None:
    (site,) = environment.glob("lib/python*/site-packages")
    distributions = sorted(path.name for path in site.glob("*.dist-info"))
    bytes_ = size(site)
    print(f"{len(distributions)} distributions, {bytes_ / 1e6:.1f} MB: {', '.join(distributions)}")
    assert len(distributions) <= MOST_DISTRIBUTIONS
    assert bytes_ <= MOST_BYTES
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "bin/python", "check")


def test_core_works_alone(environment: Path) -> None:
    run(environment / "bin/python", "-W", "error", "-c", "import interlock")
    assert "interlock" in run(environment / "bin/interlock", "--help").lower()


def test_every_entry_point_names_something_that_exists() -> None:
    points = metadata.distribution("interlock").entry_points
    broken = []
    for point in points:
        try:
            point.load()
        except (ImportError, AttributeError) as error:
            broken.append(f"{point.group} {point.name}: {error}")
    assert broken == []
