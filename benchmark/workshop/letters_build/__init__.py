"""Builds the embedded `letters` data set from the type families of a pinned package."""
