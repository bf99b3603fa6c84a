"""How fast the suite is: against hand-written floors, against bare loops, against the machine."""

from __future__ import annotations

from benchmark.speed.bench import SpeedRow, SpeedSettings, speed_rows
from benchmark.speed.clock import Clock
from benchmark.speed.overhead import runner_overhead
from benchmark.speed.pairs import Patience
from benchmark.speed.records import Records, read, stored
from benchmark.speed.variants import Variant, variants

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
