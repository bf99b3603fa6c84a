"""The public package: its names, their documentation, and the functions for notebooks."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import clbench
import pandas as pd
import pytest
from matplotlib.figure import Figure

import benchmark

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ("figures", "load_backbone", "load_dataset", "load_results", "run", "tables")


def test_the_documented_names_are_the_whole_of_it() -> None:
    listed = re.findall(r"^\| `(\w+)", (ROOT / "docs" / "python.md").read_text(), flags=re.M)
    assert sorted(listed) == sorted(clbench.__all__) == sorted(benchmark._PUBLIC)


@pytest.mark.parametrize("name", clbench.__all__)
def test_a_public_name_is_documented(name: str) -> None:
    thing = getattr(clbench, name)
    text = inspect.getdoc(thing) or ""
    assert text.partition("\n")[0].endswith((".", "`."))
    if name in FUNCTIONS:
        for parameter in inspect.signature(thing).parameters:
            assert re.search(rf"\b{parameter}\b", text), f"{name} says nothing of {parameter}"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("results")
    frame = clbench.run(
        method=["ncm", "linear_probe"],
        tasks=5,
        changes={"training.epochs": 1},
        results=folder,
        jobs=1,
        progress=False,
    )
    return folder, frame


def test_runs_are_carried_out_once(results: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = results
    assert list(frame["status"]) == ["done", "done"]
    assert set(frame["method"]) == {"ncm", "linear_probe"}
    again = clbench.run(method="ncm", tasks=[5], changes={"training.epochs": 1}, results=folder)
    assert again["started"].item() in set(frame["started"])


def test_tables_are_frames_in_full_precision(results: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = results
    found = clbench.tables(folder)
    (block,) = [table for table in found.values() if "final_mean" in table.columns]
    by_method = frame.set_index("method")["final"]
    assert block.loc["ncm", "final_mean"] == by_method["ncm"]
    assert block.attrs["title"]


def test_figures_are_matplotlib_figures(results: tuple[Path, pd.DataFrame]) -> None:
    found = clbench.figures(results[0], highlight="ncm")
    assert found
    assert all(isinstance(figure, Figure) for figure in found.values())
    with pytest.raises(ValueError, match="did you mean 'ncm'"):
        clbench.figures(results[0], highlight="ncn")


def test_a_data_set_and_a_backbone_by_name() -> None:
    data = clbench.load_dataset("icons")
    assert len(data.class_names) == 100
    assert data.train.images.read(0).shape == (32, 32, 3)
    assert clbench.load_backbone("tiny_sup").model.num_features == 128


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'inflora'"):
        clbench.run(method="inflorra", results=tmp_path)
