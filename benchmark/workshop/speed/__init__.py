"""How fast the suite is: against hand-written floors, against bare loops, against the machine."""

from __future__ import annotations

from benchmark.workshop.speed.bench import SpeedRow, SpeedSettings, speed_rows
from benchmark.workshop.speed.overhead import runner_overhead
from benchmark.workshop.speed.records import Records, read, stored
from benchmark.workshop.speed.subject import Variant, variants
from benchmark.workshop.speed.timing import Clock, TimingBudget

__all__ = [
    "Clock",
    "Records",
    "SpeedRow",
    "SpeedSettings",
    "TimingBudget",
    "Variant",
    "read",
    "runner_overhead",
    "speed_rows",
    "stored",
    "variants",
]
