"""Fetching data sets: resumable, verified, nothing overwritten."""
