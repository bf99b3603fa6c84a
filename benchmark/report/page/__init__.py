"""The report as one self-contained HTML page: tables sort, figures show values, cells open.

    render       puts the page together from page.html.j2, table.html.j2, page.css and page.js
    data         what the page's script reads: the numbers, runs and settings behind every cell

All is there without JavaScript; the script only adds. Nothing is fetched, and the page's content
security policy forbids fetching anything or running any other script.
"""

from __future__ import annotations

from benchmark.report.page.render import PageFigure, render_page

__all__ = ["PageFigure", "render_page"]
