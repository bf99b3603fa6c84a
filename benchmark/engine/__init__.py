"""Running what was asked for: planning, processes, training, evaluation, records."""
