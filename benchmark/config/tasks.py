"""How many classes each task gets, from a count or from sizes in words."""

from __future__ import annotations


def parse_tasks(entry: int | str, classes: int, dataset: str) -> tuple[int, ...]:
    """Classes per task for `10` (equal tasks) or `50+10+10+10+10+10` (these sizes).

    Raises ValueError when the tasks do not use up the classes, naming the nearest valid counts.
    """
    parts = str(entry).strip().split("+")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"{entry!r} is neither a number of tasks nor sizes such as 50+10+10")
    sizes = tuple(int(part) for part in parts)
    if len(sizes) == 1:
        return _equal(sizes[0], classes, dataset)
    if sum(sizes) != classes:
        raise ValueError(f"{entry} adds up to {sum(sizes)}, but {dataset} has {classes} classes")
    return sizes


def _equal(count: int, classes: int, dataset: str) -> tuple[int, ...]:
    if classes % count == 0:
        return (classes // count,) * count
    divisors = [n for n in range(1, classes + 1) if classes % n == 0]
    below = [n for n in divisors if n < count][-1:]
    above = [n for n in divisors if n > count][:1]
    nearest = " or ".join(map(str, below + above))
    raise ValueError(
        f"{count} tasks do not divide the {classes} classes of {dataset}: nearest valid {nearest}"
    )
