"""Choosing learning rates and settings on held-out training images: `clbench tune`."""
