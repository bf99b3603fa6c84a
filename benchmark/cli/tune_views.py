"""What `clbench tune` shows of a record: the choice, the lines for the suite, the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmark.config.tuning import LR, RECIPE
from benchmark.words import duration

if TYPE_CHECKING:
    from benchmark.tuning.record import MethodRecord, TuningRecord


def table(record: TuningRecord) -> list[str]:
    """A row a method: the rate and the setting before and after, and the accuracies they gave."""
    head = ("method", "lr", "accuracy", "setting", "accuracy", "trials", "time")
    rows = [head]
    for name, method in record.methods.items():
        (other,) = [key for key in method.before if key != LR] or [""]
        end = " (end)" if other and _at_end(method, other) else ""
        setting = f"{other} {_change(method, other)}{end}" if other else "-"
        edge = " (edge)" if method.edge else ""
        rows.append(
            (
                name,
                _change(method, LR) + edge,
                _scores(method, LR),
                setting,
                _scores(method, other),
                f"{method.tried} of {record.budget.trials}",
                duration(method.seconds),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    lines = ["", *(line.rstrip() for line in lines), ""]
    if any(method.edge for method in record.methods.values()):
        lines.append(
            "edge: the best rate is the smallest or largest tried; a better one may lie beyond"
        )
    if any(_at_end(m, key) for m in record.methods.values() for key in m.before if key != LR):
        lines.append("end: the best value of the setting is the smallest or largest tried")
    return lines + [f"{name}: {m.note}" for name, m in record.methods.items() if m.note]


def _at_end(method: MethodRecord, key: str) -> bool:
    """Whether a number was chosen that is the smallest or the largest of those tried."""
    chosen = _number(method.chosen[key])
    found = [_number(trial.value) for trial in method.trials if trial.chooses == key]
    tried = {value for value in (*found, _number(method.before[key])) if value is not None}
    return chosen is not None and len(tried) > 1 and chosen in (min(tried), max(tried))


def _number(value: Any) -> float | None:
    """A value with an order: a number, or a mapping of one name to a number."""
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value


def _change(method: MethodRecord, key: str) -> str:
    if key not in method.before:
        return "-"
    before, chosen = method.before[key], method.chosen[key]
    return f"{shown(before)} -> {shown(chosen)}" if before != chosen else shown(before)


def _scores(method: MethodRecord, key: str) -> str:
    """Validation accuracy with the value before and the one chosen, on the same seeds."""
    if key not in method.before:
        return "-"
    finals = [method.score(key, values[key]) for values in (method.before, method.chosen)]
    words = ["failed" if final is None else f"{final:.2f}" for final in finals]
    return " -> ".join(words if method.before[key] != method.chosen[key] else words[:1])


def suite_lines(record: TuningRecord) -> Iterator[str]:
    """The chosen values as the suite writes them."""
    if not any(method.chosen for method in record.methods.values()):
        yield f"nothing to write into {record.suite}.yaml: no method had anything to choose"
        return
    yield f"for {record.suite}.yaml:"
    yield "methods:"
    for name, method in record.methods.items():
        if not method.chosen:
            continue
        yield f"  {name}:"
        chosen = method.chosen.items()
        training = {k.removeprefix(RECIPE): v for k, v in chosen if k.startswith(RECIPE)}
        settings = {key: value for key, value in chosen if not key.startswith(RECIPE)}
        for block, values in (("training", training), ("settings", settings)):
            if values:
                yield f"    {block}: {shown(values)}"


def budget_line(record: TuningRecord) -> str:
    """What was spent, in one sentence."""
    budget = record.budget
    seeds = "one run" if budget.seeds == 1 else f"{budget.seeds} runs"
    spent = sum(method.seconds for method in record.methods.values())
    return (
        f"budget: {budget.trials} trials a method ({budget.rates} learning rates and "
        f"{budget.values} values of its setting), {seeds} each, compared by the final accuracy on "
        f"{100 * record.validation:g} % of the training images of {record.dataset} in "
        f"{len(record.tasks)} tasks on {record.backbone}; {duration(spent)} of computing"
    )


def shown(value: Any) -> str:
    """A value as YAML in one line, learning rates without an exponent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return str(value)
