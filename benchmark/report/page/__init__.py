"""The report as one self-contained HTML page: tables sort, figures show values, cells open.

    html      puts the page together from page.html, page.css and page.js
    grid      a table
    data      what the page's script reads: the numbers, runs and settings behind every cell
    charts    what the figures of a block show
    svg       a figure as text

All is there without JavaScript; the script only adds. Nothing is fetched, and the page's content
security policy forbids fetching anything or running any other script.
"""

from __future__ import annotations

from benchmark.report.page.html import Picture, render_page

__all__ = ["Picture", "render_page"]
