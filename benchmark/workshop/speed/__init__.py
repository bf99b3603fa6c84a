"""How fast the suite is: against hand-written floors, against bare loops, against the machine."""

from __future__ import annotations

from benchmark.workshop.speed.bench import SpeedRow, SpeedSettings, speed_rows
from benchmark.workshop.speed.clock import Clock
from benchmark.workshop.speed.overhead import runner_overhead
from benchmark.workshop.speed.pairs import Patience
from benchmark.workshop.speed.records import Records, read, stored
from benchmark.workshop.speed.variants import Variant, variants

__all__ = [
    "Clock",
    "Patience",
    "Records",
    "SpeedRow",
    "SpeedSettings",
    "Variant",
    "read",
    "runner_overhead",
    "speed_rows",
    "stored",
    "variants",
]
