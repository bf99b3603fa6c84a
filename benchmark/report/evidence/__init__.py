"""What stands behind a number: its runs, the command that redoes it, another store's number."""
