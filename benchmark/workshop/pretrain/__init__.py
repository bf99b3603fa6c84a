"""Pre-training of the embedded backbones on the upstream icons."""
