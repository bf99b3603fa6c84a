"""One module per kind of recorded case; each registers itself with `benchmark.replay.run.kind`."""
