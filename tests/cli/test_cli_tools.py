"""The commands beside `run`: data sets, pre-training, speed, doctor."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from benchmark import registry
from benchmark.cli import main


def test_data_show_draws_every_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "icons", "--out", "sheets/icons.png", "--split", "test"]) == 0
    assert first_count(capsys.readouterr().out) == "100 classes"
    with Image.open(tmp_path / "sheets" / "icons.png") as sheet:
        assert min(sheet.size) > 800
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["icons.png"]


def first_count(shown: str) -> str:
    return shown.partition(": ")[2].partition(",")[0]


def test_data_verify_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "icons"]) == 0
    shown = capsys.readouterr().out
    assert "  training    5529 images, " in shown
    assert "  test        1804 images, " in shown
    assert "  manifest " in shown
    assert shown.endswith("  no faults\n")
    assert main(["data", "verify", "icns"]) == 2


def test_data_build_builds_both_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Path, Path]] = []

    def build(package: Path, out: Path, *, on_progress: Any) -> SimpleNamespace:
        asked.append((package, out))
        for done in range(101):
            on_progress("render", done, 100)
        return SimpleNamespace(
            folder=out, classes=3, train_images=30, test_images=9, bytes=5000,
            refused={"moon": "12 images"},
        )  # fmt: skip

    monkeypatch.setattr("benchmark.workshop.icons_build.build.build_icons", build)
    monkeypatch.setattr("benchmark.workshop.icons_build.build.build_upstream", build)
    assert main(["data", "build", "icons", "--package", "p.tgz", "--out", "d"]) == 0
    assert asked == [(Path("p.tgz"), Path("d/icons")), (Path("p.tgz"), Path("d/icons_upstream"))]
    lines = capsys.readouterr().out.splitlines()
    assert "d/icons: 3 classes, 30 training and 9 test images, 5.0 kB" in lines
    assert "  left out moon: 12 images" in lines


@pytest.mark.parametrize("command", [["data", "build", "icons", "--package"],
                                     ["pretrain", "supervised", "--upstream"]])  # fmt: skip
def test_a_missing_source_is_one_message(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "nowhere"]) == 2
    shown = capsys.readouterr().err
    assert "nowhere" in shown
    assert len(shown.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_speed_prints_a_row_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["speed", "--method", "linear_probe", "--repeats", "1", "--batch-size", "4"]
    assert main([*words, "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny_sup, cpu, fp32, batch 4, 1 thread")
    assert lines[1].split()[0] == "method"
    assert lines[2].split()[0] == "linear_probe"
    assert lines[3].startswith("runner over a bare training loop: ")
    assert main(["speed", "--method", "linear_prob"]) == 2


def test_doctor_finds_what_is_there_and_what_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for subject in ("torch", "package methods", "cpu", "data set icons", "backbone tiny_sup"):
        assert re.search(rf"^ok +{subject} ", shown, re.M)

    def missing(*arguments: object, **options: object) -> str:
        raise ValueError("weights are missing: do this")

    monkeypatch.setattr("benchmark.backbones.load.weight_hash_of", missing)
    assert main(["doctor", "--results", "/proc/results"]) == 2
    shown = capsys.readouterr().out
    assert re.search(r"^MISSING +backbone tiny_sup +weights are missing: do this", shown, re.M)


def test_a_new_method_passes_its_exam_and_a_broken_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "fresh_idea"]) == 0
    assert "clbench check " in capsys.readouterr().out
    file = tmp_path / "fresh_idea.py"
    assert main(["check", "fresh_idea.py"]) == 0
    assert "FAIL" not in capsys.readouterr().out
    assert main(["new", "fresh_idea"]) == 2
    assert "fresh_idea" in capsys.readouterr().err
    file.write_text(file.read_text().replace("2 * width * config.rank", "width"))
    broken = file.rename(tmp_path / "broken.py")
    monkeypatch.setattr(registry, "_plugins", [])
    assert main(["check", str(broken)]) == 1
    assert "FAIL  parameter count equals its formula" in capsys.readouterr().out
