"""A table as text: Markdown, LaTeX, CSV, and for the terminal."""
