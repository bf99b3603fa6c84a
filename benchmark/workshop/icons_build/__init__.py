"""Builds the embedded `icons` data set and its upstream companion from the icon package."""
