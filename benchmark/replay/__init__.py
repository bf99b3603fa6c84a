"""Feeds recorded cases of reference implementations to our methods and compares every number."""

from benchmark.replay.case import ReplayError
from benchmark.replay.compare import Line
from benchmark.replay.run import Replay, replay

__all__ = ["Line", "Replay", "ReplayError", "replay"]
