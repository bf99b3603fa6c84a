"""Whether the rows of a table were earned under the same conditions."""
