"""How fast the suite is: against hand-written floors, against bare loops, against the machine."""

from __future__ import annotations

from benchmark.speed.bench import SpeedRow, SpeedSettings, runner_overhead, speed_rows

__all__ = ["SpeedRow", "SpeedSettings", "runner_overhead", "speed_rows"]
