"""Feeds recorded cases of reference implementations to our methods and compares every number."""
