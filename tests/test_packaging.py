"""The built package: holds everything, installs elsewhere, and it is ours that is imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
        "--wheel-dir", str(folder), str(ROOT))  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target",
        str(folder), str(wheel))  # fmt: skip
    return folder


def run(*words: str, status: int = 0, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1",
             **environment},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def clbench(installed: Path, *words: str, status: int = 0, cwd: Path, before: str = "") -> str:
    path = os.pathsep.join(part for part in (before, str(installed)) if part)
    script = installed / "bin" / "clbench"
    return run(sys.executable, str(script), *words, status=status, cwd=cwd, PYTHONPATH=path)


def test_the_wheel_holds_all_of_both_packages_and_nothing_else(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in packed} == {
        "benchmark", "methods", "clbench",
    }  # fmt: skip
    tracked = {
        str(path.relative_to(ROOT))
        for package in ("benchmark", "methods")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
        if path.parent != ROOT / "benchmark" / "clbench"  # becomes the package `clbench`
    }
    published = {
        f"benchmark/reported/{path.name}" for path in (ROOT / "results/reported").iterdir()
    }
    assert published
    packages = {name for name in packed if name.startswith(("benchmark/", "methods/"))}
    assert packages == tracked | published
    assert {"benchmark/py.typed", "methods/py.typed", "benchmark/suites/icons.yaml"} <= packed
    assert {f"clbench/{name}" for name in ("__init__.py", "__main__.py", "py.typed")} <= packed


def test_the_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.rpartition("/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name
        }
    assert "clbench = benchmark.cli:main" in texts["entry_points.txt"]
    assert "Requires-Python: >=3.10" in texts["METADATA"]
    assert re.search(r"Requires-Dist: torch>=[\d.]+\n", texts["METADATA"])  # no upper limit
    assert "LICENSE" in texts


def test_elsewhere_it_is_ours_that_is_imported(installed: Path, tmp_path: Path) -> None:
    for name in ("benchmark", "methods"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a namesake')\n")
    quick = ("--tasks", "2", "--set", "training.epochs=0", "--threads", "1", "--no-report")
    words = ("run", "--method", "ncm,linear_probe", "--jobs", "2", *quick)
    assert "[2/2]" in clbench(installed, *words, cwd=tmp_path)  # in two further processes
    assert len(list(tmp_path.glob("results/runs/*/result.json"))) == 2
    code = "import benchmark, methods; print(benchmark.__file__, methods.__file__)"
    elsewhere = tmp_path / "empty"
    elsewhere.mkdir()
    files = run(sys.executable, "-c", code, cwd=elsewhere, PYTHONPATH=str(installed)).split()
    assert [Path(file).parent.parent for file in files] == [installed, installed]


def test_it_goes_by_its_own_name(installed: Path, tmp_path: Path) -> None:
    code = "import benchmark, clbench; print(clbench.Method is benchmark.Method, dir(clbench))"
    shown = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert shown.startswith("True")
    assert "load_results" in shown
    words = ("-m", "clbench", "list", "methods")
    assert "inflora" in run(sys.executable, *words, cwd=tmp_path, PYTHONPATH=str(installed))


def test_a_namesake_earlier_on_the_path_is_named(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "__init__.py").write_text("")
    (tmp_path / "methods" / "ncm.py").write_text("")
    words = ("run", "--method", "ncm", "--results", str(tmp_path / "results"))
    shown = clbench(installed, *words, status=2, cwd=tmp_path, before=str(tmp_path))
    assert "hides that of clbench" in shown
    assert not (tmp_path / "results").exists()


def make(*words: str) -> list[str]:
    done = run("make", "--dry-run", "--no-print-directory", *words, cwd=ROOT, MAKEFLAGS="")
    return [line for line in done.splitlines() if "clbench " in line]


def test_make_hands_options_on_only_when_given(tmp_path: Path) -> None:
    assert make("bench")[-1] == ".venv/bin/clbench run"
    given = make("bench", "DATASET=icons", "METHOD=ncm,joint", "TASKS=5", "SEEDS=0,1", "JOBS=2",
                 "SUITE=icons_full", "BACKBONE=tiny_sup", "RESULTS=out",
                 "SET=training.lr=0.1 settings.rank=5")  # fmt: skip
    assert given[-1] == (
        ".venv/bin/clbench run --suite icons_full --dataset icons --method ncm,joint "
        "--backbone tiny_sup --tasks 5 --seeds 0,1 --set 'training.lr=0.1' "
        "--set 'settings.rank=5' --results out --jobs 2"
    )
    assert make("report", "RESULTS=out")[-1] == ".venv/bin/clbench report --results out"


def test_ci_runs_the_words_that_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    words = "make lint type test"
    assert words in script.read_text()
    assert words in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
