"""One module per kind of recorded case; each registers itself with `replay.run.kind`."""
