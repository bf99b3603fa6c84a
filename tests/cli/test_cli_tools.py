"""The commands beside `run`: data sets, pre-training, speed, doctor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmark import registry
from benchmark.cli import main
from benchmark.workshop.icons_build.pack import BuildSummary


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


@pytest.mark.parametrize(
    ("name", "builder", "extra"),
    [
        ("icons", "icons_build.build.build_icons", {}),
        ("letters", "letters_build.build.build_letters", {}),
        ("upstream", "icons_build.upstream.build_upstream", {"strict": False}),
        ("upstream_strict", "icons_build.upstream.build_upstream", {"strict": True}),
    ],
)
def test_data_build_builds_what_is_named(
    name: str,
    builder: str,
    extra: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[Path, Path, dict[str, bool]]] = []

    def build(package: Path, out: Path, *, on_progress: Any, rules: Any = None) -> BuildSummary:
        asked.append((package, out, {"strict": rules.strict} if rules else {}))
        for done in range(101):
            on_progress("render", done, 100)
        return BuildSummary(out, {"classes": 3, "train": 30}, 5000, {"moon": "12 images"})

    monkeypatch.setattr(f"benchmark.workshop.{builder}", build)
    assert main(["data", "build", name, "--package", "p.tgz", "--out", "d"]) == 0
    assert asked == [(Path("p.tgz"), Path("d") / name, extra)]
    lines = capsys.readouterr().out.splitlines()
    assert f"d/{name}: 3 classes, 30 train; 5.0 kB" in lines
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
