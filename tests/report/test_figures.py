"""The figures: what they show, partial data, one column of a paper, the same bytes every time."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image
from synthetic_results import IMAGES, make_broken, make_result, make_spec

from benchmark import metrics
from benchmark.registry import UnknownNameError, add_plugin
from benchmark.report import drawing
from benchmark.report.build import build_report, collect_report
from benchmark.report.figures import (
    FIGURES,
    BlockFigure,
    NothingToDrawError,
    Options,
    canvas,
    check_names,
    render,
    usable,
)
from benchmark.report.figures.canvas import Canvas, accuracy_scale, spread
from benchmark.report.figures.numbers import (
    confusion,
    forgetting_by_task,
    pareto_front,
    reference_row,
    relative_summaries,
    round_sizes,
    size_text,
    stage_summaries,
)
from benchmark.report.palette import MOST_COLOURED, PALE, coloured_rows
from benchmark.report.rows import Block, make_blocks
from benchmark.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("sequential", "inflora", "l2p", "joint")
KINDS = [kind for kind in FIGURES.names() if issubclass(FIGURES.get(kind), BlockFigure)]


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


def row_of(block: Block, label: str) -> Any:
    return next(line for line in block.rows if line.label == label)


def drawn(block: Block, options: Options) -> dict[str, str]:
    """Kinds of figures: "drawn", or why not."""
    outcome = {}
    for kind in KINDS:
        try:
            files = render(kind, block, options, forms=["svg"])
        except NothingToDrawError as reason:
            outcome[kind] = str(reason)
        else:
            assert set(files) == {"svg"}
            outcome[kind] = "drawn"
    return outcome


# -- partial and unusual data -------------------------------------------------------------------

ALL = dict.fromkeys(KINDS, "drawn")


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
    assert kinds == set(KINDS) - {"confusion"}


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


def on_canvas(kind: str, block: Block, options: Options) -> Canvas:
    with canvas.style():
        made = Canvas(options)
        FIGURES.get(kind)().draw(usable(block), made)
        made.arrange()
    return made


def texts(kind: str, block: Block, options: Options) -> list[str]:
    return [text.get_text() for text in visible(on_canvas(kind, block, options))]


def visible(made: Canvas) -> list[Text]:
    found = {id(text): text for text in made.figure.findobj(Text)}
    return [text for text in found.values() if text.get_text() and text.get_visible()]


# -- the numbers --------------------------------------------------------------------------------


def test_curves_are_the_mean_over_runs(tmp_path: Path) -> None:
    block, _ = campaign_of(tmp_path)
    line = row_of(block, "inflora")
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
    own, other = row_of(block, "l2p"), row_of(block, "inflora")
    last = {
        (line.method, run.result["spec"]["seed"]): run.result["outcome"]["accuracy"][-1]
        for line in (own, other)
        for run in line.done
    }
    for task, summary in enumerate(relative_summaries(own, other)):
        differences = [last["l2p", s][task] - last["inflora", s][task] for s in (1, 2)]
        assert summary.n == 2
        assert summary.mean == pytest.approx(np.mean(differences))
    assert relative_summaries(row_of(block, "ncm"), other) == []
    shown = " ".join(texts("relative", block, Options()))
    assert "no common seed and class order: ncm" in shown


def test_the_compared_row_is_chosen_by_method_or_label(campaign: ResultStore) -> None:
    [block] = collect_report(campaign.root).blocks
    assert reference_row(block, "").method == "inflora"
    assert reference_row(block, "l2p").label == "l2p"
    assert reference_row(block, "inflora").label == "inflora (rank=10)"  # the first of two
    assert reference_row(block, "inflora (rank=5)").label == "inflora (rank=5)"
    with pytest.raises(NothingToDrawError, match="no finished run of slca"):
        reference_row(block, "slca")
    without = [r for r in campaign.results() if r["spec"]["method"] != "inflora"]
    [rest] = make_blocks(without)
    final = {line.method: line.summary("final").mean for line in rest.rows}
    assert reference_row(rest, "").method == max(("l2p", "coda_p"), key=final.__getitem__)
    [bounds] = make_blocks([r for r in without if r["spec"]["method"] in ("ncm", "joint")])
    assert reference_row(bounds, "").method == "ncm"


def test_an_unknown_row_to_compare_with_is_refused(campaign: ResultStore, tmp_path: Path) -> None:
    blocks = collect_report(campaign.root).blocks
    for name in ("", "coda_p", "inflora (rank=5)"):
        check_names(Options(name, (name,) if name else ()), blocks)
    for options in (Options("coda-p"), Options(highlight=("l2p", "coda-p"))):
        with pytest.raises(UnknownNameError, match="did you mean 'coda_p'"):
            check_names(options, blocks)
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
    line = row_of(block, "l2p")
    assert np.mean(forgetting_by_task(line)) == pytest.approx(line.summary("forgetting").mean)
    assert all(map(math.isnan, forgetting_by_task(row_of(block, "joint"))))
    assert metrics.forgetting_by_task([[90.0], [80.0, 70.0], [85.0, 75.0, 60.0]]) == [5.0, -5.0]
    assert metrics.forgetting_by_task([[90.0]]) == []


def test_confusion_rows_sum_to_one_and_hold_the_error(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    assert options.predictions
    line = row_of(block, "sequential")
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
    shown = texts("confusion", block, Options("l2p", (), options.predictions))
    twice = {name for name in methods if shown.count(name) == 2}  # beside a bar, above a map
    assert len(twice) == 6
    assert {"sequential", "l2p", "joint"} <= twice
    assert all(name in shown for name in methods)


# -- colour -------------------------------------------------------------------------------------


def many_rows(folder: Path) -> tuple[Block, Options]:
    methods = ("sequential", "ncm", *(f"m{i}" for i in range(12)), "joint")
    return campaign_of(folder, methods, seeds=3)


def test_few_rows_are_all_in_colour(tmp_path: Path) -> None:
    block, _ = campaign_of(tmp_path)
    assert coloured_rows(block, ()) == frozenset(range(len(METHODS)))


def test_many_rows_leave_colour_to_the_best_the_bounds_and_the_highlighted(tmp_path: Path) -> None:
    block, _ = many_rows(tmp_path)
    worst = [line.label for line in block.rows if line.section == 1][-1]
    names = [block.rows[i].label for i in coloured_rows(block, [worst])]
    best = next(line.label for line in block.rows if line.section == 1)
    assert {"sequential", "ncm", "joint", worst, best} <= set(names)
    assert len(names) <= MOST_COLOURED
    assert worst not in [block.rows[i].label for i in coloured_rows(block, [])]
    assert len(coloured_rows(block, [f"m{i}" for i in range(12)])) == MOST_COLOURED


def test_of_many_rows_of_one_run_the_highest_are_in_colour(tmp_path: Path) -> None:
    methods = ("sequential", "ncm", *(f"m{i}" for i in range(12)), "joint")
    block, _ = campaign_of(tmp_path, methods, seeds=1)
    shown = coloured_rows(block, ())
    assert len(shown) == MOST_COLOURED
    own = [i for i, row in enumerate(block.rows) if row.section == 1]
    assert shown >= {*own[: MOST_COLOURED - 3], *(set(range(len(block.rows))) - set(own))}


@pytest.mark.parametrize("kind", ["accuracy", "parameters"])
def test_rows_without_colour_are_grey_and_named(tmp_path: Path, kind: str) -> None:
    block, options = many_rows(tmp_path)
    made = on_canvas(kind, block, options)
    marks = [line for line in made.figure.axes[0].lines if line.get_gid()]
    assert len(marks) == len(block.rows)
    grey = {i for i, mark in enumerate(marks) if mark.get_markeredgecolor() == PALE}
    assert grey == set(range(len(block.rows))) - coloured_rows(block, ())
    shown = [text.get_text() for text in visible(made)]
    assert all(row.label in shown for row in block.rows)


# -- values -------------------------------------------------------------------------------------


def test_points_and_cells_say_their_values(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    line = row_of(block, "l2p")
    for kind, count in (("accuracy", 5), ("forgetting", 4), ("parameters", 1), ("time", 1)):
        svg = ET.fromstring(render(kind, block, options, ["svg"])["svg"])
        [group] = [g for g in svg.iter() if g.get("data-name") == "l2p"]
        said = [title.text or "" for title in group.iter() if title.tag.endswith("title")]
        assert len(said) == count
        assert group.get("data-series") == str(block.rows.index(line))
        if kind == "accuracy":
            summary = stage_summaries(line)[-1]
            assert said[-1] == f"task 5: {summary.mean:.2f} ± {summary.std:.2f}, n = 2"
        if kind == "forgetting":
            values = forgetting_by_task(line)
            assert said == [f"task {i}: {value:.2f}" for i, value in enumerate(values, 1)]


def test_svg_fits_a_page(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    names: list[str] = []
    for kind in KINDS:
        content = render(kind, block, options, ["svg"])["svg"].decode()
        svg = ET.fromstring(content)
        assert svg.get("aria-label", "").startswith(block.title)
        assert not [e for e in svg.iter() if "style" in e.attrib or e.tag.endswith("style")]
        own = [e.attrib["id"] for e in svg.iter() if "id" in e.attrib]
        assert {name for name in re.findall(r"#([\w-]+)[\")]", content)} - set(own) == set(
            re.findall(r'"#([0-9a-f]{6})"', content)
        )
        names += own
        assert any(e.tag.endswith("text") for e in svg.iter()), "text stays text"
    assert len(names) == len(set(names))


# -- form ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_figures_fit_one_column_and_no_text_is_too_small(tmp_path: Path) -> None:
    long = tuple(f"a_method_with_quite_a_long_name_{i}" for i in range(12))
    for methods in (METHODS, long):
        block, options = campaign_of(tmp_path / str(len(methods)), methods, seeds=1)
        for kind in KINDS:
            made = on_canvas(kind, block, options)
            made.figure.draw_without_rendering()
            assert made.figure.get_figwidth() == pytest.approx(3.3)
            assert min(text.get_fontsize() for text in visible(made)) >= 7
            for text in visible(made):
                text.set_in_layout(True)
            box = made.figure.get_tightbbox()
            assert box.x0 > -0.02 and box.x1 < 3.32, kind
            assert box.y0 > -0.02 and box.y1 < made.figure.get_figheight() + 0.02, kind


def test_end_labels_do_not_overlap(tmp_path: Path) -> None:
    block, options = many_rows(tmp_path)
    made = on_canvas("accuracy", block, options)
    labels = {line.label for line in block.rows}
    boxes = [text.get_window_extent() for text in visible(made) if text.get_text() in labels]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == len(labels)
    for lower, upper in itertools.pairwise(boxes):
        assert upper.y0 > lower.y0 + 5  # points


def test_pdfs_embed_truetype_and_pngs_have_pixels_for_print(tmp_path: Path) -> None:
    block, options = campaign_of(tmp_path)
    for kind in KINDS:
        files = render(kind, block, options, ["pdf", "png"])
        assert files["pdf"].startswith(b"%PDF")
        assert b"/FontFile2" in files["pdf"]
        assert b"/Type3" not in files["pdf"]
        with Image.open(io.BytesIO(files["png"])) as image:
            assert image.width == 660


@pytest.mark.slow
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
        "    options = Options(predictions=store.predictions)\n"
        "    for content in render(kind, block, options).values():\n"
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


def test_accuracy_axis_does_not_blow_up_noise_nor_pass_100() -> None:
    from matplotlib.figure import Figure

    for values in ([50.0, 50.1], [99.9, 100.0], [0.0, 0.0], [20.0, 90.0]):
        axes = Figure().add_axes((0, 0, 1, 1))
        accuracy_scale(axes, values)
        low, high = axes.get_ylim()
        assert low <= min(values) and max(values) <= high
        assert high - low >= 2.5
        if 10 < min(values) < 90:
            assert high - low >= 5
        assert all(0 <= tick <= 100 for tick in axes.get_yticks())
        assert len(axes.get_yticks()) >= 2


def test_labels_are_spread_without_overlap_and_stay_near() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        count = int(rng.integers(1, 12))
        wanted = sorted(map(float, rng.uniform(0, 5, count)))
        heights = [float(h) for h in rng.choice([0.125, 0.25], count)]
        places = spread(wanted, heights, (0.0, 5.0))
        for i in range(1, count):
            assert places[i] - places[i - 1] >= (heights[i] + heights[i - 1]) / 2 - 1e-9
        assert places[0] >= heights[0] / 2 - 1e-9
        assert places[-1] <= 5.0 - heights[-1] / 2 + 1e-9
    assert spread([1.0, 2.0], [0.1, 0.1], (0.0, 5.0)) == pytest.approx([1.0, 2.0])


# -- drawn when something changed, and not before ------------------------------------------------


def drawn_now(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> set[str]:
    """Stems of the figures that one report draws."""
    stems: set[str] = set()
    original = drawing._draw

    def noted(jobs: Any, given: Any) -> Any:
        stems.update(job.stem for job in jobs)
        return original(jobs, given)

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_draw", noted)
        build_report(root, out, **options)
    return stems


@pytest.mark.slow
def test_only_what_changed_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "results", tmp_path / "out"
    campaign_of(root)
    store = ResultStore(root)
    for method in METHODS:
        store.write(*make_result(make_spec(method, tasks=(5, 5))))
    first, second = "icons-2tasks-tiny_sup-natural", "icons-5tasks-tiny_sup-natural"
    everything = {f"{block}-{kind}" for block in (first, second) for kind in KINDS} | {"ranks"}
    assert drawn_now(root, out, monkeypatch) == everything
    before = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    page = (out / "report.html").read_text()

    assert drawn_now(root, out, monkeypatch) == set()
    assert {path.name: path.read_bytes() for path in (out / "figures").iterdir()} == before
    assert (out / "report.html").read_text() == page

    store.write(*make_result(make_spec("l2p", tasks=(5, 5)), started="2031-01-01T00:00:00Z"))
    assert drawn_now(root, out, monkeypatch) == {f"{first}-{k}" for k in KINDS} | {"ranks"}

    (out / "figures" / f"{second}-time.svg").unlink()
    assert drawn_now(root, out, monkeypatch) == {f"{second}-time"}

    (out / "figures" / drawing.DIGESTS).write_text("[1, 2")
    assert drawn_now(root, out, monkeypatch) == everything

    assert drawn_now(root, out, monkeypatch, highlight=["l2p"]) == everything


def test_a_plug_in_adds_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.registry._plugins", [])
    plugin = tmp_path / "my_figure.py"
    plugin.write_text(
        textwrap.dedent(
            """
            from benchmark.report.figures import FIGURES, BlockFigure

            @FIGURES.register("dots")
            class Dots(BlockFigure):
                title = "Dots of my own"

                def draw(self, block, canvas):
                    canvas.caption("dots", 1.0)
                    canvas.figure.add_subplot().plot([1, 2], [3, 4], "o")
            """
        )
    )
    add_plugin(plugin)
    campaign_of(tmp_path / "results", seeds=1)
    report = build_report(tmp_path / "results", tmp_path / "out")
    assert {path.suffix for path in report.files if path.stem.endswith("-dots")} == {
        ".svg", ".pdf", ".png",
    }  # fmt: skip
    assert "Dots of my own" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "figures" / drawing.DIGESTS).read_bytes())
