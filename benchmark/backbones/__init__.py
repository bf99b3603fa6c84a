"""Backbones: the catalogue of names, the loader and the pre-training of the embedded ones."""
