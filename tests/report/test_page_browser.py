"""The page in a real browser: it sorts, opens cells, shows values, filters, and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import PROGRAM, Browser
from synthetic_results import make_result, make_spec, write_campaign

from benchmark.report.build import build_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        PROGRAM is None, reason="Chromium is not installed: apt-get install chromium"
    ),
]
EVIL = "</script><script>document.title='evil'</script><img src=x onerror=document.title='evil'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign in natural order, two splits more, one of another data set."""
    folder = tmp_path_factory.mktemp("page")
    store = write_campaign(folder / "results")
    for seed in range(2):
        store.write(*make_result(make_spec("inflora", seed, tasks=(5, 5))))
        store.write(*make_result(make_spec("l2p", seed, dataset="other", settings={EVIL: 1})))
        store.write(*make_result(make_spec("l2p", seed, dataset="other"), marks=(EVIL,)))
    build_report(store.root, folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(started: Browser, page: Path) -> Browser:
    started.requests.clear()
    started.complaints.clear()
    started.open(page)
    return started


MAIN = "document.querySelector('#b1 table')"  # five tasks of icons; #b0 has two
CURVES = (
    "[...document.querySelectorAll('#b1 [data-name=sequential]')]"
    ".find(group => group.querySelectorAll('use').length == 5)"
)
COLUMN = f"[...{MAIN}.tBodies].map(b => [...b.rows].map(r => r.cells[1].innerText))"
LABELS = f"[...{MAIN}.tBodies].map(b => [...b.rows].map(r => r.cells[0].innerText))"


def test_it_loads_without_a_complaint_and_asks_for_nothing(browser: Browser, page: Path) -> None:
    assert browser.js("document.title") == "clbench report"
    assert browser.js("document.querySelectorAll('.chart').length") >= 10
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [page.as_uri()]
    assert browser.complaints == []


def test_the_policy_stops_scripts_that_come_later(browser: Browser) -> None:
    browser.js("document.body.append(Object.assign(document.createElement('script'),"
               "{textContent: 'document.title = \"evil\"'}))")  # fmt: skip
    assert browser.js("document.title") == "clbench report"
    assert any("Content Security Policy" in text for text in browser.complaints)


def test_headings_sort_within_the_groups_of_rows(browser: Browser) -> None:
    before = browser.js(LABELS)
    assert sorted(before[0]) == ["linear_probe", "ncm", "seq_lora", "sequential"]
    head = f"{MAIN}.querySelectorAll('thead th')[1]"

    def shown() -> list[list[float]]:
        return [[float(text.split()[0]) for text in body] for body in browser.js(COLUMN)]

    browser.click(f"{head}.firstChild")
    assert browser.js(f"{head}.ariaSort") == "descending"
    assert shown() == [sorted(body, reverse=True) for body in shown()]
    browser.js(f"{head}.firstChild.focus()")
    browser.key("Enter")
    assert browser.js(f"{head}.ariaSort") == "ascending"
    assert shown() == [sorted(body) for body in shown()]
    assert [sorted(body) for body in browser.js(LABELS)] == [sorted(body) for body in before]
    browser.key("Enter")
    assert browser.js(f"{head}.ariaSort") == "none"
    assert browser.js(LABELS) == before
    name = f"{MAIN}.querySelector('thead th')"
    browser.click(f"{name}.firstChild")
    assert browser.js(f"{name}.ariaSort") == "ascending"
    assert browser.js(LABELS)[0] == ["linear_probe", "ncm", "seq_lora", "sequential"]


def test_undefined_numbers_stay_last(browser: Browser) -> None:
    table = "document.querySelector('#all table')"
    for _ in range(2):
        browser.click(f"{table}.querySelectorAll('thead th[aria-sort]')[1].firstChild")
        texts = browser.js(f"[...{table}.tBodies[1].rows].map(r => r.cells[1].innerText)")
        known = [text != "-" for text in texts]
        assert known == sorted(known, reverse=True)
        assert False in known


def test_a_cell_opens_its_runs_and_a_command_to_copy(browser: Browser) -> None:
    row = f"[...{MAIN}.rows].find(r => r.cells[0].innerText.startsWith('l2p'))"
    browser.click(f"{row}.cells[1]")
    panel = browser.js("document.getElementById('panel').innerText")
    assert browser.js("document.getElementById('panel').open")
    for words in (
        "l2p: Final (%)", "ACC_T", "failed", "out of memory", "0123456789abcdef", "a processor",
        "2 of 3 runs are finished", "clbench run --suite icons",
    ):  # fmt: skip
        assert words in panel
    assert browser.js("document.querySelectorAll('#panel code').length") == 3
    browser.js("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    browser.click("document.querySelector('#panel .command button')")
    command = browser.js("document.querySelector('#panel code').innerText")
    assert browser.js("window.copied") == command
    assert browser.js("document.querySelector('#panel .command button').innerText") == "Copied"
    browser.js("navigator.clipboard.writeText = async () => { throw new Error('no'); }")
    browser.click("document.querySelectorAll('#panel .command button')[1]")
    assert browser.js("getSelection().toString()") == browser.js(
        "document.querySelectorAll('#panel code')[1].innerText"
    )
    browser.key("Escape")
    assert not browser.js("document.getElementById('panel').open")


def test_cells_open_with_the_keyboard(browser: Browser) -> None:
    browser.js(f"{MAIN}.querySelector('tbody td').focus()")
    browser.key("ArrowDown")
    browser.key("ArrowRight")
    browser.key("Enter")
    assert "seq_lora: Average (%)" in browser.js("document.getElementById('panel').innerText")
    assert browser.js(f"{MAIN}.querySelectorAll('td[tabindex=\"0\"]').length") == 1


def test_a_sorted_table_opens_the_right_cell(browser: Browser) -> None:
    browser.click(f"{MAIN}.querySelectorAll('thead th')[1].firstChild")
    browser.click(f"{MAIN}.querySelectorAll('thead th')[1].firstChild")
    row = f"{MAIN}.tBodies[1].rows[0]"
    label = browser.js(f"{row}.querySelector('th span').firstChild.data")
    browser.click(f"{row}.cells[1]")
    title = browser.js("document.getElementById('panel-title').innerText")
    assert title == f"{label}: Final (%)"


def test_points_show_their_values(browser: Browser) -> None:
    chart = f"{CURVES}.closest('svg')"
    point = f"[...{CURVES}.querySelectorAll('use')].pop()"
    x, y = browser.place(point)
    browser.point(x + 2, y + 2)
    tip = "document.getElementById('tip')"
    assert not browser.js(f"{tip}.hidden")
    shown = browser.js(f"{tip}.innerText")
    table = browser.js(f"{MAIN}.tBodies[0].rows[0].cells[1].innerText")
    assert shown == f"sequential\ntask 5: {table}, n = 3"
    browser.point(1, 1)
    assert browser.js(f"{tip}.hidden")
    browser.js(f"{chart}.focus()")
    browser.key("ArrowLeft")
    assert browser.js(f"{tip}.innerText").startswith("sequential\ntask 4:")
    browser.key("ArrowDown")
    assert browser.js(f"{tip}.innerText").startswith("seq_lora\ntask 4:")


def test_a_name_in_the_legend_brings_its_row_out(browser: Browser) -> None:
    browser.click("document.querySelectorAll('#b1 .legend button')[1]")
    browser.point(1, 1)
    groups = "[...document.querySelectorAll('#b1 [data-series]:not(.dim)')]"
    names = f"[...new Set({groups}.map(group => group.dataset.name))]"
    assert browser.js(names) == ["seq_lora"]
    browser.click("document.querySelectorAll('#b1 .legend button')[1]")
    browser.point(1, 1)
    assert len(browser.js(names)) > 5


def test_figures_follow_a_dark_page(browser: Browser) -> None:
    ink = f"getComputedStyle({CURVES}.closest('svg').querySelector('text')).fill"
    colours = []
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        colours.append(browser.js(ink))
    assert colours[0] != colours[1]


def test_filters_leave_what_belongs(browser: Browser) -> None:
    shown = (
        "[...document.querySelectorAll('main > section:not([hidden]) > h2')].map(h => h.innerText)"
    )

    def choose(select: str, value: str) -> list[str]:
        browser.js(f"{select}.value = '{value}'; {select}.dispatchEvent(new Event('change'))")
        found: list[str] = browser.js(shown)
        return found

    everything = browser.js(shown)
    assert len(everything) == 4
    assert choose("dataset", "1") == [title for title in everything if title.startswith("other")]
    assert choose("dataset", "0") == [t for t in everything if not t.startswith("other")]
    assert choose("block", "1") == ["Side by side", everything[2]]
    assert choose("dataset", "1") == [title for title in everything if title.startswith("other")]
    assert choose("dataset", "") == everything


def test_nothing_runs_off_a_narrow_screen(browser: Browser) -> None:
    size = {"height": 800, "deviceScaleFactor": 1, "mobile": False}
    try:
        browser.call("Emulation.setDeviceMetricsOverride", width=360, **size)
        assert browser.js("document.documentElement.scrollWidth") <= 360
        browser.click(f"{MAIN}.querySelector('tbody td')")
        assert browser.js("document.getElementById('panel').scrollWidth") <= 360
    finally:
        browser.call("Emulation.setDeviceMetricsOverride", width=1280, **size)


def test_texts_of_results_do_nothing(browser: Browser) -> None:
    for i in range(browser.js("document.querySelectorAll('#b2 tbody tr').length")):
        browser.click(f"document.querySelectorAll('#b2 tbody tr')[{i}].cells[1]")
        assert "</script>" in browser.js("document.body.innerText")
        browser.key("Escape")
    assert browser.js("document.title") == "clbench report"
    assert browser.js("document.images.length") == 0
    assert browser.complaints == []
