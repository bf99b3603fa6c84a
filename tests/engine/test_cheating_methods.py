"""Methods that cheat: each is caught, gains nothing, or is marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.data.packed import ASSETS
from benchmark.engine.plan import plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.metrics import final_accuracy
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

WritePlugin = Callable[[str, str], Path]

CAUGHT, POWERLESS, MARKED = "caught", "powerless", "marked"
PREDICT = "    def predict(self, images, frozen=None):\n        logits = super().predict(images)\n"
BEGIN = "    def begin_task(self, task, data):\n"
END = "    def end_task(self, task, data):\n"
STEP = "    def after_step(self, task):\n"
LABELS = "images.csv"

# Looks for labels with `found`, an array of whole numbers for all 48 test images, and uses them.
SEARCH = (
    PREDICT + "        import gc, sys\n        import numpy as np\n        found = []\n{search}"
    "        for labels in found:\n"
    "            if len(labels) == 48 and 'int' in str(labels.dtype) and labels.ndim == 1:\n"
    "                logits = logits * 0\n"
    "                for row, label in enumerate(labels[: len(logits)]):\n"
    "                    logits[row, min(int(label), logits.shape[1] - 1)] = 9\n"
    "        return logits\n"
)


def searching(search: str) -> str:
    """A method that looks for labels while it predicts."""
    lines = "".join(f"        {line}\n" for line in search.splitlines())
    return SEARCH.replace("{search}", lines)


ARRAYS = "(np.ndarray, torch.Tensor)"
CHEATS = {
    # labels of the test images
    "gc": (searching(f"found = [o for o in gc.get_objects() if isinstance(o, {ARRAYS})]"),
           POWERLESS),
    "gc_deep": (searching("found = [r for o in gc.get_objects() if type(o) is dict "
                          f"for r in gc.get_referents(o) if isinstance(r, {ARRAYS})]"), POWERLESS),
    "frames": (searching("frame = sys._getframe()\nwhile frame:\n"
                         "    for v in list(frame.f_locals.values()):\n"
                         "        found += [x for x in vars(v).values() if isinstance(x, "
                         f"{ARRAYS})] if hasattr(v, '__dict__') else []\n"
                         "    frame = frame.f_back"), POWERLESS),
    "registry": (searching("from benchmark.data import DATASETS\nfrom benchmark.data.base import "
                           "DataSource\ntry:\n    found = [DATASETS.get('toy').load(DataSource())"
                           ".test.labels]\nexcept Exception:\n    pass"), POWERLESS),
    "modules": (searching("for module in list(sys.modules.values()):\n    if module.__name__."
                          "startswith('benchmark'):\n        found += [v for v in vars(module)."
                          f"values() if isinstance(v, {ARRAYS})]"), POWERLESS),
    "caches": (searching("from benchmark.data import icons, packed\n"
                         "found = [] if not packed._rows.cache_info().currsize else [1 / 0]"),
               POWERLESS),
    "loads": (searching("from benchmark.data.icons import load_split\n"
                        "found = [load_split('test')[1]]"), CAUGHT),
    "reads": (BEGIN + f"        open({str(ASSETS / 'icons' / LABELS)!r}).read()", CAUGHT),
    "reads_quietly": (BEGIN + "        try:\n            "
                      f"open({str(ASSETS / 'icons' / LABELS)!r}).read()\n"
                      "        except OSError:\n            pass", CAUGHT),
    "reads_low": (BEGIN + "        import os\n        "
                  f"os.open({str(ASSETS / 'icons' / LABELS)!r}, 0)", CAUGHT),
    "maps": (BEGIN + "        import numpy as np\n        "
             f"np.memmap({str(ASSETS / 'icons' / LABELS)!r}, mode='r')", CAUGHT),
    "reads_by_detour": (BEGIN + "        "
                        f"open({str(ASSETS / 'icons' / '..' / 'icons' / LABELS)!r}).read()",
                        CAUGHT),
    # place and order of the test images
    "counts": (PREDICT + "        self.met = getattr(self, 'met', 0) + len(images)\n"
               "        logits[:, self.met // 12 % logits.shape[1]] += 99\n        return logits",
               CAUGHT),
    "known_order": (PREDICT + "        from benchmark.seeds import generator\n"
                    "        n = len(images)\n        order = torch.randperm(n, generator="
                    "generator(0, 'evaluation order', n))\n"
                    "        logits[order, order // 6 % logits.shape[1]] += 99\n"
                    "        return logits", CAUGHT),
    "place_in_batch": (PREDICT + "        logits[range(len(images)), [i // 6 % logits.shape[1] "
                       "for i in range(len(images))]] += 99\n        return logits", CAUGHT),
    "batch_size": (PREDICT + "        return logits + len(images)", CAUGHT),
    # other images of the batch
    "votes": (PREDICT + "        return logits + 9 * logits.mean(0)", CAUGHT),
    "votes_openly": ("    batch_dependent = True\n\n" + PREDICT
                     + "        return logits + 9 * logits.mean(0)", MARKED),
    "votes_and_takes_it_back": (BEGIN + "        self.batch_dependent = True\n\n" + END
                                + "        self.batch_dependent = False\n\n" + PREDICT
                                + "        return logits + 9 * logits.mean(0)", CAUGHT),
    "says_so_for_once": (PREDICT + "        self.batch_dependent = True\n"
                         "        return logits + 9 * logits.mean(0)", MARKED),
    "adapts": (PREDICT + "        with torch.no_grad():\n            "
               "self.heads[-1].bias.data.add_(logits.detach().mean(0)[-1])\n"
               "        return logits", CAUGHT),
    "normalises_over_time": (PREDICT + "        self.mean = 0.5 * getattr(self, 'mean', 0) + "
                             "logits.detach().mean(0)\n        return logits - self.mean", CAUGHT),
    "adapts_the_frozen": (PREDICT + "        import gc\n        "
                          "for o in gc.get_objects():\n"
                          "            if type(o).__name__ == 'VisionTransformer':\n"
                          "                o.cls_token.data.add_(1)\n        return logits",
                          CAUGHT),
    # what is kept, and what is said of it
    "keeps_images": (BEGIN + "        self.seen = getattr(self, 'seen', []) + "
                     "[b.images for b in data.batches(False)]", POWERLESS),
    "keeps_the_data": (END + "        type(self).kept_data = data\n\n" + BEGIN
                       + "        if task.index:\n            "
                       "next(type(self).kept_data.batches(False))", CAUGHT),
    "keeps_in_the_module": (BEGIN + "        globals().setdefault('STORE', [])."
                            "extend(b.images for b in data.batches(False))", CAUGHT),
    "keeps_in_the_class": (BEGIN + "        type(self).store = "
                           "[b.images for b in data.batches(False)]", CAUGHT),
    "keeps_in_a_function": (BEGIN + "        Plugin.begin_task.store = "
                            "{'a': [b.images for b in data.batches(False)]}", CAUGHT),
    "hides_parameters": ("    def __init__(self, *a):\n        super().__init__(*a)\n"
                         "        self.more = torch.nn.Linear(64, 64)\n\n"
                         "    def expanded_parameters(self):\n        return 0", CAUGHT),
    "hides_statistics": ("    def __init__(self, *a):\n        super().__init__(*a)\n"
                         "        self.register_buffer('more', torch.zeros(64))\n\n"
                         "    def statistics(self):\n        return 0", CAUGHT),
    "trains_what_is_not_its_own": ("    def parameter_groups(self):\n        self.side = "
                                   "[torch.nn.Parameter(torch.zeros(2))]\n        return super()."
                                   "parameter_groups() + [{'name': 'side', 'params': self.side, "
                                   "'lr_scale': 1.0}]", CAUGHT),
    "trains_the_backbone": ("    trains_backbone = False\n\n" + BEGIN
                            + "        self.backbone.requires_grad_(True)", CAUGHT),
    "moves_the_backbone": ("    trains_backbone = False\n\n" + STEP
                           + "        self.backbone.cls_token.data.add_(0.1)", CAUGHT),
    "swaps_the_backbone": ("    trains_backbone = False\n\n" + STEP
                           + "        self.backbone.cls_token = torch.nn.Parameter("
                           "self.backbone.cls_token.data + 0.1)", CAUGHT),
    "takes_back_a_note": (BEGIN + "        self.note('made with help')\n\n" + END
                          + "        self.notes = []", MARKED),
    "takes_back_a_note_late": (BEGIN + "        self.note('made with help')\n\n" + PREDICT
                               + "        self.notes.clear()\n        return logits", MARKED),
    # the runner itself
    "asks_for_the_next_task": (BEGIN + "        import gc\n        for o in gc.get_objects():\n"
                               "            if type(o).__name__ == 'RemoteData':\n"
                               "                o.train(task.index + 1)", CAUGHT),
    "patches_the_score": (PREDICT + "        import benchmark.engine.examiner as e\n"
                          "        e.Examiner._scored = lambda self, stage: [100.0] * (stage + 1)\n"
                          "        return logits", POWERLESS),
    "patches_torch": (PREDICT + "        torch.Tensor.topk = torch.Tensor.topk\n"
                      "        torch.allclose = lambda *a, **k: True\n        return logits",
                      POWERLESS),
    "writes_its_result": (END + "        import gc, pathlib\n        for o in gc.get_objects():\n"
                          "            if type(o).__name__ == 'TaskLoop':\n"
                          "                (o.folder / 'result.json').write_text('{}')", POWERLESS),
    "tells_an_ending": (END + "        import gc\n        from benchmark.engine.runner import "
                        "Ending\n        for o in gc.get_objects():\n            if type(o)."
                        "__name__ == 'Connection':\n                o.send(Ending({'status': "
                        "'done', 'error': None, 'marks': []}))", CAUGHT),
}  # fmt: skip
# The process of a run has hidden what it imported from the collector; a cheat can undo that.
ALSO_FROZEN = ("gc.get_objects()", "(gc.unfreeze() or gc.get_objects())")
QUICK = (
    "gc", "reads_quietly", "known_order", "says_so_for_once", "keeps_in_the_module",
    "hides_parameters", "asks_for_the_next_task", "tells_an_ending",
)  # fmt: skip


@pytest.mark.parametrize(
    "names", [pytest.param(QUICK, id="quick"), pytest.param(CHEATS, marks=pytest.mark.slow)]
)
def test_no_cheat_gains_unseen(
    names: tuple[str, ...], spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    for name in names:
        write_plugin(name, CHEATS[name][0].replace(*ALSO_FROZEN))
    short = replace(spec, tasks=(2, 6), recipe=replace(spec.recipe, epochs=1))
    store = ResultStore(tmp_path / "results")
    asked = [replace(short, method=name) for name in ("sequential", *names)]
    planned = plan_runs(asked, store)
    execute(planned, ExecutionSettings(store.root, jobs=1, device="cpu"), lambda event: None)
    outcomes = [store.read(run.key)["outcome"] for run in planned]
    honest = final_accuracy(outcomes[0]["accuracy"])
    said_of_all = set(outcomes[0]["marks"])
    wrong = {}
    for name, outcome in zip(names, outcomes[1:], strict=True):
        if outcome["status"] == "failed":
            found = CAUGHT
        elif set(outcome["marks"]) - said_of_all:
            found = MARKED
        else:
            gain = final_accuracy(outcome["accuracy"]) > honest
            found = "it gained" if gain else POWERLESS
        # One that would gain nothing may stumble over a check all the same.
        if found != CHEATS[name][1] and (CHEATS[name][1], found) != (POWERLESS, CAUGHT):
            wrong[name] = (found, outcome["error"], outcome.get("accuracy"), outcome.get("marks"))
    assert not wrong
