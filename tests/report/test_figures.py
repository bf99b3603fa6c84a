"""The figures: what they show, partial data, sizes, fonts, the same bytes every time."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from PIL import Image
from synthetic_results import IMAGES, make_broken, make_result, make_spec

from benchmark import metrics
from benchmark.registry import UnknownNameError
from benchmark.report import drawing
from benchmark.report.build import build_report, collect_report
from benchmark.report.figures import (
    FIGURES,
    FORMATS,
    NothingToDrawError,
    Options,
    canvas,
    labels,
    render,
)
from benchmark.report.figures.font import FAMILY, lean_family
from benchmark.report.figures.numbers import (
    check_relative_to,
    confusion,
    forgetting_by_task,
    pareto_front,
    reference_line,
    relative_summaries,
    round_sizes,
    size_text,
    stage_summaries,
)
from benchmark.report.rows import Block, make_blocks
from benchmark.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
DPI = canvas._DPI
METHODS = ("sequential", "inflora", "l2p", "joint")


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of few pixels: faster."""
    monkeypatch.setattr(canvas, "_DPI", 40)


def campaign_of(
    root: Path, methods: tuple[str, ...] = METHODS, seeds: int = 2, **changes: Any
) -> tuple[Block, Options]:
    """One block of runs, and where their predictions are."""
    store = ResultStore(root)
    for method in methods:
        for seed in range(seeds):
            store.write(*make_result(make_spec(method, seed, **changes)))
    [block] = make_blocks(store.results())
    return block, Options(predictions=store.predictions)


def line_of(block: Block, label: str) -> Any:
    return next(line for line in block.rows if line.label == label)


def drawn(block: Block, options: Options) -> dict[str, str]:
    """Kinds of figures: "drawn", or why not."""
    outcome = {}
    for kind in FIGURES:
        try:
            files = render(kind, block, options, forms=["png"])
        except NothingToDrawError as reason:
            outcome[kind] = str(reason)
        else:
            assert set(files) == {"png"}
            outcome[kind] = "drawn"
    return outcome


# -- partial and unusual data -------------------------------------------------------------------

ALL = dict.fromkeys(FIGURES, "drawn")


@pytest.mark.parametrize("tasks", [(5, 5), (2,) * 20, (10, 2, 2), (1,) * 60], ids=str)
def test_every_number_of_tasks_can_be_drawn(tmp_path: Path, tasks: tuple[int, ...]) -> None:
    assert drawn(*campaign_of(tmp_path, tasks=tasks)) == ALL


def test_a_single_task_is_not_forgotten(tmp_path: Path) -> None:
    outcome = drawn(*campaign_of(tmp_path, tasks=(10,)))
    assert outcome == ALL | {"forgetting": "with a single task nothing is forgotten"}


def test_a_single_run_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    outcome = drawn(*campaign_of(tmp_path, ("inflora",), seeds=1))
    assert outcome == ALL | {"relative": "no other row to compare with inflora"}


def test_joint_alone_has_a_last_stage_only(tmp_path: Path) -> None:
    outcome = drawn(*campaign_of(tmp_path, ("joint",)))
    assert outcome["forgetting"] == "no method was evaluated after every task"
    assert outcome["accuracy"] == outcome["confusion"] == "drawn"


def test_forty_variants_and_names_that_look_like_formulas(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for rank in range(40):
        settings = {"rank": rank, "note": f"$x^{{{rank}$ a rather long name"}
        store.write(*make_result(make_spec(settings=settings)))
    [block] = make_blocks(store.results())
    assert drawn(block, Options(predictions=store.predictions)) == ALL


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_lose_no_figure(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path, backbone="file:/home/日本/한국.npz")
    assert drawn(block, options) == ALL
    with canvas.style():
        assert canvas.text_width("日本") > 0


def test_sizes_of_any_range_have_few_ticks() -> None:
    for low, high in ((5, 1e12), (1e-5, 1e9), (7.68, 86_000), (1, 10), (3, 3.5)):
        ticks = round_sizes(low, high)
        assert 1 <= len(ticks) <= 5
        assert max(len(size_text(tick)) for tick in ticks) <= 7
    assert [size_text(x) for x in (0.5, 20, 2e4, 1e6, 2.5e9, 1e-5, 1.5e-4)] == [
        "0.5", "20", "20,000", "1e6", "2.5e9", "1e-5", "1.5e-4",
    ]  # fmt: skip


def test_missing_and_damaged_predictions_leave_the_rest(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    store = ResultStore(tmp_path)
    keys = {line.label: [run.result["key"] for run in line.done] for line in block.rows}
    (store.folder(keys["inflora"][0]) / "predictions.npz").unlink()
    (store.folder(keys["l2p"][0]) / "predictions.npz").write_bytes(b"PK\x03\x04 cut")
    arrays = store.predictions(keys["sequential"][0])
    for name in ("top_classes/4", "known/4"):
        del arrays[name]
    np.savez(store.folder(keys["sequential"][0]) / "predictions.npz", **arrays)
    assert options.predictions
    found = {line.label: confusion(line, options.predictions) for line in block.rows}
    assert {label: c and c.runs for label, c in found.items()} == {
        "sequential": 1, "inflora": 1, "l2p": 1, "joint": 2,
    }  # fmt: skip
    assert "mean of n = 1 to 2 runs" in " ".join(texts("confusion", block, options))


def test_without_predictions_there_is_no_confusion_map(tmp_path: Path) -> None:
    block, _ = campaign_of(tmp_path)
    assert drawn(block, Options())["confusion"] == "no predictions are stored"
    for folder in (tmp_path / "runs").iterdir():
        (folder / "predictions.npz").unlink()
    report = build_report(tmp_path, tmp_path / "out")
    kinds = {path.stem.rpartition("-")[2] for path in report.files if path.suffix == ".pdf"}
    assert kinds == set(FIGURES) - {"confusion"}


def test_failed_runs_are_left_out(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    campaign_of(tmp_path)
    store.write(make_broken(make_spec("coda_p")), {})
    [block] = make_blocks(store.results())
    assert drawn(block, Options(predictions=store.predictions)) == ALL
    [broken] = make_blocks([make_broken(make_spec("coda_p"))])
    assert set(drawn(broken, Options()).values()) == {"no run is finished"}


def test_perfect_and_free_methods_have_axes_too() -> None:
    results = []
    for method in ("inflora", "l2p"):
        result, _ = make_result(make_spec(method))
        result["outcome"]["accuracy"] = [[100.0] * (i + 1) for i in range(5)]
        result["outcome"]["train_seconds"] = [0.0] * 5
        results.append(result)
    [block] = make_blocks(results)
    assert drawn(block, Options()) == ALL | {"confusion": "no predictions are stored"}


def test_domains_have_no_wrong_task(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method in METHODS:
        spec = make_spec(method, tasks=(4, 4), scenario="domain")
        result, arrays = make_result(spec)
        arrays["task_of_image"] = np.repeat([0, 1], IMAGES).astype(np.int16)
        arrays["task_of_class"] = np.zeros(8, np.int16)
        store.write(result, arrays)
    [block] = make_blocks(store.results())
    options = Options(predictions=store.predictions)
    assert drawn(block, options) == ALL
    assert "there is no wrong task" in " ".join(texts("confusion", block, options))


def texts(kind: str, block: Block, options: Options) -> list[str]:
    with canvas.style():
        return [text.get_text() for text in FIGURES[kind](block, options).texts]


# -- the numbers --------------------------------------------------------------------------------


def test_curves_are_the_mean_over_runs(tmp_path: Path) -> None:
    block, _ = campaign_of(tmp_path)
    line = line_of(block, "inflora")
    rows = [run.result["outcome"]["accuracy"] for run in line.done]
    for stage, summary in enumerate(stage_summaries(line)):
        values = [np.mean(row[stage]) for row in rows]
        assert summary.mean == pytest.approx(np.mean(values))
        assert summary.std == pytest.approx(np.std(values, ddof=1))


def test_relative_accuracy_is_paired_by_seed_and_order(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method, seeds in (("inflora", (0, 1, 2)), ("l2p", (1, 2, 3)), ("ncm", (4,))):
        for seed in seeds:
            store.write(*make_result(make_spec(method, seed)))
    [block] = make_blocks(store.results())
    own, other = line_of(block, "l2p"), line_of(block, "inflora")
    last = {
        (line.method, run.result["spec"]["seed"]): run.result["outcome"]["accuracy"][-1]
        for line in (own, other)
        for run in line.done
    }
    for task, summary in enumerate(relative_summaries(own, other)):
        differences = [last["l2p", s][task] - last["inflora", s][task] for s in (1, 2)]
        assert summary.n == 2
        assert summary.mean == pytest.approx(np.mean(differences))
    assert relative_summaries(line_of(block, "ncm"), other) == []
    shown = " ".join(texts("relative", block, Options()))
    assert "no common seed and class order: ncm" in shown


def test_the_compared_row_is_chosen_by_method_or_label(campaign: ResultStore) -> None:
    [block] = collect_report(campaign.root).blocks
    assert reference_line(block, "").method == "inflora"
    assert reference_line(block, "l2p").label == "l2p"
    assert reference_line(block, "inflora").label == "inflora (rank=10)"  # the first of two
    assert reference_line(block, "inflora (rank=5)").label == "inflora (rank=5)"
    with pytest.raises(NothingToDrawError, match="no finished run of slca"):
        reference_line(block, "slca")
    without = [r for r in campaign.results() if r["spec"]["method"] != "inflora"]
    [rest] = make_blocks(without)
    final = {line.method: line.summary("final").mean for line in rest.rows}
    assert reference_line(rest, "").method == max(("l2p", "coda_p"), key=final.__getitem__)
    [bounds] = make_blocks([r for r in without if r["spec"]["method"] in ("ncm", "joint")])
    assert reference_line(bounds, "").method == "ncm"


def test_an_unknown_row_to_compare_with_is_refused(campaign: ResultStore, tmp_path: Path) -> None:
    blocks = collect_report(campaign.root).blocks
    for name in ("", "coda_p", "inflora (rank=5)"):
        check_relative_to(name, blocks)
    with pytest.raises(UnknownNameError, match="did you mean 'coda_p'"):
        check_relative_to("coda-p", blocks)
    with pytest.raises(UnknownNameError, match="method to compare with 'codap'"):
        build_report(campaign.root, tmp_path / "out", relative_to="codap")
    assert not (tmp_path / "out").exists()
    build_report(campaign.root, tmp_path / "out", relative_to="coda_p")
    [png, default] = (render("relative", blocks[0], o, ["png"]) for o in (Options("coda_p"), None))
    assert png != default


def test_pareto_front_against_its_definition() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        points = [tuple(map(float, p)) for p in rng.integers(0, 6, (8, 2))]
        beaten = {
            i
            for i, (x, y) in enumerate(points)
            for u, v in points
            if u <= x and v >= y and (u, v) != (x, y)
        }
        assert set(pareto_front(points)) == set(range(8)) - beaten
    assert pareto_front([(0.0, math.nan), (1.0, 2.0), (math.nan, 9.0)]) == [1]
    assert pareto_front([]) == []


def test_forgetting_of_tasks_averages_to_the_metric(tmp_path: Path) -> None:
    block, _ = campaign_of(tmp_path)
    line = line_of(block, "l2p")
    assert np.mean(forgetting_by_task(line)) == pytest.approx(line.summary("forgetting").mean)
    assert all(map(math.isnan, forgetting_by_task(line_of(block, "joint"))))
    assert metrics.forgetting_by_task([[90.0], [80.0, 70.0], [85.0, 75.0, 60.0]]) == [5.0, -5.0]
    assert metrics.forgetting_by_task([[90.0]]) == []


def test_confusion_rows_sum_to_one_and_hold_the_error(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    assert options.predictions
    line = line_of(block, "sequential")
    found = confusion(line, options.predictions)
    assert found and found.runs == 2
    np.testing.assert_allclose(found.shares.sum(axis=1), 100)
    assert np.mean(100 - np.diag(found.shares)) == pytest.approx(found.wrong_task)
    assert found.wrong_task + found.wrong_class == pytest.approx(100 - line.summary("final").mean)


def test_task_confusion_by_hand() -> None:
    predictions = {
        "labels": np.array([0, 1, 2, 2], np.int16),
        "task_of_class": np.array([0, 0, 1], np.int16),
        "task_of_image": np.array([0, 0, 1, 1], np.int16),
        "top_classes/1": np.array([[1], [2], [0], [2]], np.int16),
    }
    assert metrics.task_confusion(predictions).tolist() == [[50, 50], [50, 50]]
    predictions["task_of_image"] = np.array([0, 0, 2, 2], np.int16)  # task 1 has no images
    predictions["top_classes/2"] = predictions.pop("top_classes/1")
    rows = metrics.task_confusion(predictions)
    assert rows[0].tolist() == [50, 50, 0]
    assert np.isnan(rows[1]).all()
    with pytest.raises(ValueError, match="predictions of 3 images, expected 4"):
        metrics.task_confusion(predictions | {"top_classes/2": np.zeros((3, 1), np.int16)})
    predictions["task_of_class"] = np.array([0, 0, 5], np.int16)
    with pytest.raises(ValueError, match="classes not seen"):
        metrics.task_confusion(predictions)


def test_many_rows_get_six_maps_with_bounds_and_the_compared_row(tmp_path: Path) -> None:
    methods = ("sequential", "ncm", *(f"m{i}" for i in range(8)), "l2p", "joint")
    block, options = campaign_of(tmp_path, methods, seeds=1)
    chosen = Options("l2p", options.predictions)
    with canvas.style():
        figure = FIGURES["confusion"](block, chosen)
    shown = [text.get_text() for text in figure.texts]
    twice = {name for name in methods if shown.count(name) == 2}  # beside a bar, above a map
    assert len(twice) == 6
    assert {"sequential", "l2p", "joint"} <= twice
    assert all(name in shown for name in methods)


# -- form ---------------------------------------------------------------------------------------


def test_sizes_are_those_of_a_two_column_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "_DPI", DPI)
    for count, width in ((4, 3.3), (12, 6.9)):
        methods = tuple(f"m{i}" for i in range(count))
        block, options = campaign_of(tmp_path / str(count), methods, seeds=1)
        for kind in FIGURES:
            with Image.open(io.BytesIO(render(kind, block, options, ["png"])["png"])) as image:
                assert image.width in (660, 1380)
                if kind in ("accuracy", "relative"):
                    assert image.width == round(200 * width)
                if kind in ("parameters", "time"):
                    assert image.width == 660


def test_pdfs_embed_truetype_and_no_text_is_too_small(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    for kind in FIGURES:
        content = render(kind, block, options, ["pdf"])["pdf"]
        assert content.startswith(b"%PDF")
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        with canvas.style():
            figure = FIGURES[kind](block, options)
            found = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
            assert min(text.get_fontsize() for text in found if text.get_text()) >= 6.5


def test_no_text_leaves_the_page(tmp_path: Path) -> None:
    long = tuple(f"a_method_with_quite_a_long_name_{i}" for i in range(12))
    for methods in (METHODS, long):
        block, options = campaign_of(tmp_path / str(len(methods)), methods, seeds=1)
        for kind in FIGURES:
            with canvas.style():
                figure = FIGURES[kind](block, options)
                figure.set_dpi(DPI)
                figure.canvas.draw()
            width, height = figure.bbox.size
            for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
                if text.get_text() and text.get_visible():
                    box = text.get_window_extent()
                    inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1
                    assert inside and box.y1 < height + 1, (kind, text.get_text(), box)


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    campaign_of(tmp_path)
    code = (
        "import hashlib\n"
        "from benchmark.report.rows import make_blocks\n"
        "from benchmark.report.figures import Options, render\n"
        "from benchmark.results.store import ResultStore\n"
        f"store = ResultStore({str(tmp_path)!r})\n"
        "[block] = make_blocks(store.results())\n"
        "for kind in ('relative', 'confusion'):\n"
        "    for content in render(kind, block, Options('', store.predictions)).values():\n"
        "        print(hashlib.sha256(content).hexdigest())\n"
    )
    outputs = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False,
            env={"PYTHONHASHSEED": seed, "PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_a_figure_is_drawn_once_for_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_of(tmp_path)
    calls: list[str] = []
    counted = {
        kind: lambda b, o, kind=kind, draw=draw: calls.append(kind) or draw(b, o)
        for kind, draw in FIGURES.items()
    }
    monkeypatch.setattr("benchmark.report.figures.FIGURES", counted)
    monkeypatch.setattr(drawing, "_may_fork", lambda: False)
    files = build_report(tmp_path, tmp_path / "out").files
    assert {path.suffix.removeprefix(".") for path in files} >= set(FORMATS)
    assert sorted(calls) == sorted(FIGURES)


def test_accuracy_axis_does_not_blow_up_noise_nor_pass_100() -> None:
    from matplotlib.figure import Figure

    for values in ([50.0, 50.1], [99.9, 100.0], [0.0, 0.0], [20.0, 90.0]):
        axes = Figure().add_axes((0, 0, 1, 1))
        canvas.accuracy_scale(axes, values)
        low, high = axes.get_ylim()
        assert low <= min(values) and max(values) <= high
        assert high - low >= 2.5
        if 10 < min(values) < 90:
            assert high - low >= 5
        assert all(0 <= tick <= 100 for tick in axes.get_yticks())
        assert len(axes.get_yticks()) >= 2


def test_names_beside_curves_do_not_overlap_and_stay_near() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        count = int(rng.integers(1, 12))
        wanted = sorted(map(float, rng.uniform(0, 5, count)))
        heights = [float(h) for h in rng.choice([0.125, 0.25], count)]
        places = labels.spread(wanted, heights, (0.0, 5.0))
        for i in range(1, count):
            assert places[i] - places[i - 1] >= (heights[i] + heights[i - 1]) / 2 - 1e-9
        assert places[0] >= heights[0] / 2 - 1e-9
        assert places[-1] <= 5.0 - heights[-1] / 2 + 1e-9
    assert labels.spread([1.0, 2.0], [0.1, 0.1], (0.0, 5.0)) == pytest.approx([1.0, 2.0])


def test_figures_have_the_letters_of_dejavu_sans() -> None:
    names = lean_family(), FAMILY
    lean, whole = (FT2Font(findfont(name, fallback_to_default=False)) for name in names)
    for character in map(chr, [*range(32, 127), 0xB1, 0x2212, 0x3B1, 0x44F]):
        glyphs = [font.load_char(ord(character)) for font in (lean, whole)]
        boxes = [(glyph.linearHoriAdvance, glyph.bbox) for glyph in glyphs]
        assert boxes[0] == boxes[1], character
    assert lean.family_name != whole.family_name
    assert lean.postscript_name == whole.postscript_name


@pytest.mark.filterwarnings("error")
def test_other_letters_come_from_the_whole_font(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path, backbone="file:/home/Հայ/a.npz")
    lean = FT2Font(findfont(lean_family(), fallback_to_default=False))
    assert not lean.get_char_index(ord("Հ"))
    files = render("accuracy", block, options)
    assert files["pdf"].count(b"/FontFile2") == 2  # the small font and the whole one


def test_without_a_temporary_file_the_font_itself_is_embedded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmark.report.figures.font.tempfile.mkstemp", full)
    assert lean_family.__wrapped__() == FAMILY
