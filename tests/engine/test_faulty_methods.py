"""Methods with faults: each is recorded as the method's own failure, with its place in its file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from toy_runs import run

from benchmark.engine import hooks
from benchmark.engine.plan import plan_runs
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

WritePlugin = Callable[[str, str], Path]

LOSS = "    def loss(self, batch, task):\n        "
PREDICT = "    def predict(self, images, frozen=None):\n        "
GROUPS = "    def parameter_groups(self):\n        "
GOOD = "super().parameter_groups()"
ODD = "class Odd(Exception):\n            def __str__(self):\n                "

# Body of a method and what its error says: a table of faults that users have made.
FAULTS = {
    # errors of any kind, in every hook
    "error_in_init": ("    def __init__(self, *a):\n        raise KeyError('x')", "KeyError"),
    "error_in_grow": ("    def grow(self, task):\n        1 / 0", "ZeroDivisionError"),
    "error_in_begin_task": ("    def begin_task(self, task, data):\n        [][1]", "IndexError"),
    "error_in_groups": (GROUPS + "return self.nothing", "AttributeError"),
    "error_in_begin_epoch": ("    def begin_epoch(self, *a):\n        assert 0", "AssertionError"),
    "error_in_loss": (LOSS + "raise RuntimeError('no luck')", "no luck"),
    "error_in_after_step": ("    def after_step(self, task):\n        {}['k']", "KeyError"),
    "error_in_end_task": ("    def end_task(self, *a):\n        raise TypeError", "TypeError"),
    "error_in_predict": (PREDICT + "raise NotImplementedError", "NotImplementedError"),
    "error_in_expanded": ("    def expanded_parameters(self):\n        1 / 0", "ZeroDivision"),
    "error_in_statistics": ("    def statistics(self):\n        1 / 0", "ZeroDivisionError"),
    "error_in_skip": ("    @classmethod\n    def skip(cls, spec):\n        1 / 0", "ZeroDivision"),
    # errors that look like someone else's
    "no_space": (LOSS + "raise OSError(28, 'No space left on device')", "No space left"),
    "no_file": (LOSS + "open('/nowhere/at/all')", "FileNotFoundError"),
    "no_permission": (LOSS + "raise PermissionError('mine')", "mine"),
    "no_connection": (LOSS + "raise ConnectionResetError('peer')", "ConnectionResetError: peer"),
    "end_of_file": (LOSS + "raise EOFError", "EOFError"),
    "no_memory": (LOSS + "raise MemoryError", "MemoryError"),
    "exit": (LOSS + "raise SystemExit(0)", "SystemExit: 0"),
    "exit_in_skip": ("    @classmethod\n    def skip(cls, spec):\n        quit()", "SystemExit"),
    "generator_exit": (LOSS + "raise GeneratorExit", "GeneratorExit"),
    "recursion": (LOSS + "return self.loss(batch, task)", "RecursionError"),
    "stop_iteration": (LOSS + "next(iter(()))", "StopIteration"),
    # error texts
    "empty_text": (LOSS + "raise ValueError", r"ValueError \("),
    "huge_text": (LOSS + "raise ValueError('x' * 10**6)", r"1,000,000 characters"),
    "control_text": (LOSS + "raise ValueError('\\x1b[2Jgone')", r"\\x1b\[2Jgone"),
    "surrogate_text": (LOSS + "raise ValueError('\\udc80')", r"\\udc80"),
    "many_lines": (LOSS + "raise ValueError('a\\n' * 9)", "a a a"),
    "text_that_raises": (LOSS + ODD + "raise RuntimeError\n        raise Odd", "cannot be made"),
    "text_that_exits": (LOSS + ODD + "raise SystemExit\n        raise Odd", "cannot be made"),
    "text_that_is_none": (LOSS + ODD + "return None\n        raise Odd", "cannot be made"),
    # wrong values
    "loss_is_none": (LOSS + "pass", "gave None, not a tensor"),
    "loss_is_a_number": (LOSS + "return 1.0", "gave 1.0, not a tensor"),
    "loss_of_each_image": (LOSS + "return self.logits(self.features(batch.images)).sum(1)", "8]"),
    "loss_of_shape_1": (LOSS + "return super().loss(batch, task)[None]", r"\[1\], not one number"),
    "loss_detached": (LOSS + "return super().loss(batch, task).detach()", "no trained parameter"),
    "loss_elsewhere": (LOSS + "return torch.zeros((), device='meta', requires_grad=True)", "meta"),
    "loss_of_whole_numbers": (LOSS + "return torch.tensor(1)", "int64"),
    "predicts_none": (PREDICT + "pass", "gave None, not logits"),
    "predicts_classes": (PREDICT + "return super().predict(images).argmax(1)", "int64"),
    "predicts_pairs": (PREDICT + "return super().predict(images), 0", "of type tuple"),
    "predicts_too_few": (PREDICT + "return super().predict(images)[1:]", r", 4\] for \d+ images"),
    "predicts_flat": (PREDICT + "return super().predict(images).flatten()", r"for \d+ images"),
    "predicts_one_more": (PREDICT + "return torch.zeros(len(images), 99)", "99 classes"),
    "predicts_nan": (PREDICT + "return super().predict(images) * torch.nan", "not finite"),
    "groups_none": (GROUPS + "pass", "gave None, not a list"),
    "groups_without_name": (GROUPS + "return [{'params': []}]", "needs name, params and lr_scale"),
    "groups_of_names": (GROUPS + "return ['heads']", "needs name"),
    "groups_with_odd_rate": (GROUPS + f"return [{GOOD}[0] | {{'lr_scale': 'big'}}]", "lr_scale 'b"),
    "groups_with_nan_rate": (GROUPS + f"return [{GOOD}[0] | {{'lr_scale': torch.nan}}]", "nan"),
    "groups_of_tensors": (GROUPS + f"return [{GOOD}[0] | {{'params': [torch.ones(1)]}}]", "float"),
    "groups_of_map": (GROUPS + f"return [{GOOD}[0] | {{'params': map(id, ())}}]", "type map"),
    "groups_twice": (GROUPS + f"return {GOOD} + {GOOD}", "twice"),
    "notes_of_numbers": ("    def begin_task(self, *a):\n        self.notes = [1]", "of texts"),
    "notes_gone": ("    def begin_task(self, *a):\n        self.notes = None", "list of texts"),
    "counts_in_floats": ("    def expanded_parameters(self):\n        return 1.5", "gave 1.5"),
    "counts_below_zero": ("    def statistics(self):\n        return -1", "gave -1"),
    "skips_with_true": ("    @classmethod\n    def skip(cls, spec):\n        return True", "True"),
}  # fmt: skip
QUICK = (
    "error_in_skip", "no_space", "exit", "surrogate_text", "text_that_raises", "loss_is_none",
    "predicts_pairs", "groups_twice", "notes_gone",
)  # fmt: skip
CASES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in FAULTS
]


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_the_methods_own(
    name: str, spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body, expected = FAULTS[name]
    write_plugin(name, body)
    short = replace(spec, method=name, tasks=(4, 4), recipe=replace(spec.recipe, epochs=1))
    planned, store = run(short, tmp_path)
    outcome = store.read(planned.key)["outcome"]
    assert outcome["status"] == "failed"
    text = str(outcome["error"])
    assert re.search(expected, text), text
    assert len(text) < 1300
    assert text.isprintable()
    places = re.findall(r"\((\S+\.py), line \d+", text)
    assert places in ([f"{name}.py"], []), text
    assert places or name.startswith("notes")


def test_a_failed_run_keeps_its_traceback(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    write_plugin("deep", LOSS + "self.helper()\n\n    def helper(self):\n        [][7]")
    planned, store = run(replace(spec, method="deep"), tmp_path)
    outcome = store.read(planned.key)["outcome"]
    assert "self.helper()" in outcome["traceback"]
    assert outcome["traceback"].rstrip().endswith("IndexError: list index out of range")
    assert "(deep.py, line 13, in loss)" in str(outcome["error"])


def test_a_skip_that_raises_does_not_stop_the_plan(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    write_plugin("undecided", FAULTS["exit_in_skip"][0])
    planned = plan_runs([replace(spec, method="undecided"), spec], ResultStore(tmp_path))
    assert [one.open for one in planned] == [True, True]


def test_a_cost_that_cannot_be_counted_is_a_blank_cell_with_a_note(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """Loss of a distillation, which works in the task alone, and only in a fused form."""
    body = (
        "    def begin_task(self, task, data):\n        self.teacher = self.backbone\n\n"
        + LOSS
        + "if len(batch.labels) < 8:\n            raise ValueError('whole batches only')\n"
        "        return super().loss(batch, task) + 0 * self.teacher.cls_token.sum()\n\n"
        "    def end_task(self, task, data):\n        del self.teacher"
    )
    write_plugin("distils", body)
    planned, store = run(replace(spec, method="distils"), tmp_path)
    outcome = store.read(planned.key)["outcome"]
    assert outcome["status"] == "done"
    assert outcome["flops_per_image"]["train"] is None
    assert outcome["flops_per_image"]["predict"]
    assert any("whole batches only" in mark for mark in outcome["marks"])


def test_operations_are_counted_where_the_method_expects_a_call(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body = (
        "    def begin_task(self, task, data):\n        self.teacher = self.backbone\n\n"
        + LOSS
        + "return super().loss(batch, task) + 0 * self.teacher.cls_token.sum()\n\n"
        "    def end_task(self, task, data):\n        del self.teacher"
    )
    write_plugin("distils", body)
    planned, store = run(replace(spec, method="distils"), tmp_path)
    assert store.read(planned.key)["outcome"]["flops_per_image"]["train"]


def test_long_and_odd_texts_can_be_stored() -> None:
    assert hooks.storable("a" * 5, longest=3) == "aaa ... (5 characters)"
    assert hooks.storable("\udcff\x07") == "\\udcff\\x07"
