"""Feeds recorded cases of reference implementations to our methods and compares every number."""

from benchmark.workshop.replay.case import ReplayError
from benchmark.workshop.replay.compare import ArrayResult
from benchmark.workshop.replay.run import Replay, replay

__all__ = ["ArrayResult", "Replay", "ReplayError", "replay"]
