"""A figure as SVG: colours by class, to suit a light and a dark page; values as titles."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Mapping

from benchmark.report.formatting import number
from benchmark.report.page.axis import Axis
from benchmark.report.page.charts import Chart, HeatMap, Series
from benchmark.report.page.escape import attributes, escaped
from benchmark.report.palette import Style

_WIDTH, _HEIGHT = 480, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 44
_ROW, _MAP_LEFT = 17, 150
_NAME_LENGTH = 22  # characters beside a heat map
_PAGE_LIGHTNESS = 0.09  # of the dark page
_LEAST_CONTRAST = 4.0
_BAND, _FEW = 0.14, 8  # opacity of a band of one standard deviation; curves from which on it falls
# Outlines around (0, 0) by matplotlib's names of markers; a circle as two arcs.
_OUTLINES = {
    "o": "M-4,0A4,4 0 1,0 4,0A4,4 0 1,0 -4,0Z",
    "s": "M-3.6,-3.6H3.6V3.6H-3.6Z",
    "^": "M0,-4.6L4.4,3.6H-4.4Z",
    "v": "M0,4.6L4.4,-3.6H-4.4Z",
    "<": "M-4.6,0L3.6,-4.4V4.4Z",
    ">": "M4.6,0L-3.6,-4.4V4.4Z",
    "D": "M0,-5L5,0L0,5L-5,0Z",
    "d": "M0,-5.2L3.2,0L0,5.2L-3.2,0Z",
    "P": "M-1.6,-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z",
    "X": "M-2.3,-4.6L0,-2.3L2.3,-4.6L4.6,-2.3L2.3,0L4.6,2.3"
    "L2.3,4.6L0,2.3L-2.3,4.6L-4.6,2.3L-2.3,0L-4.6,-2.3Z",
    "p": "M0,-4.6L4.4,-1.4L2.7,3.7H-2.7L-4.4,-1.4Z",
    "h": "M0,-4.8L4.2,-2.4V2.4L0,4.8L-4.2,2.4V-2.4Z",
    "x": "M-3.6,-3.6L3.6,3.6M-3.6,3.6L3.6,-3.6",
    "1": "M0,0V4.8M0,0L4.2,-2.4M0,0L-4.2,-2.4",
    "2": "M0,0V-4.8M0,0L4.2,2.4M0,0L-4.2,2.4",
    "+": "M-4.4,0H4.4M0,-4.4V4.4",
    "*": "M0,-6.5L1.6,-2.2L6.2,-2L2.6,0.8L3.8,5.3L0,2.7L-3.8,5.3L-2.6,0.8L-6.2,-2L-1.6,-2.2Z",
}
# The half of a marker that is filled, in shares of its box.
_HALVES = {
    "left": 'width="0.5" height="1"',
    "right": 'x="0.5" width="0.5" height="1"',
    "top": 'width="1" height="0.5"',
    "bottom": 'y="0.5" width="1" height="0.5"',
}
_DASHES = {"-": None, "--": "6 3", "-.": "6 3 1.5 3", ":": "1.5 3"}
_FACES = {"white": "open", "none": "open"}
Styles = Mapping[tuple[str, int], Style]


def shapes(used: Iterable[Style]) -> str:
    """The markers that the page's figures refer to."""
    parts = [
        f'<clipPath id="half-{name}" clipPathUnits="objectBoundingBox"><rect {box}/></clipPath>'
        for name, box in _HALVES.items()
    ]
    for marker, fill in sorted({(style.marker, style.fill) for style in used}):
        path = f'<path d="{_OUTLINES[marker]}"'
        if fill == "full":
            parts.append(f'{path} id="{_shape(marker, fill)}"/>')
            continue
        filled = f'{path} class="filled" clip-path="url(#half-{fill})"/>'
        parts.append(f'<g id="{_shape(marker, fill)}">{path} class="empty"/>{filled}</g>')
    return "".join(parts)


def colours(used: Iterable[Style]) -> str:
    """Style sheet of the colours used, each with a lighter tone of it for the dark page."""
    names = sorted({style.colour for style in used})
    light = "".join(f".{_ink(name)}{{--ink:{name}}}" for name in names)
    dark = "".join(f".{_ink(name)}{{--ink:{on_dark(name)}}}" for name in names)
    return f"{light}\n@media screen and (prefers-color-scheme:dark){{{dark}}}"


def on_dark(colour: str) -> str:
    """The same hue, light enough for the dark page."""
    hue, lightness, saturation = colorsys.rgb_to_hls(
        *(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )
    if saturation == 0:  # what is darkest on white is lightest here
        lightness = 1 - 0.6 * lightness
    rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    while (_luminance(rgb) + 0.05) / (_PAGE_LIGHTNESS**2 + 0.05) < _LEAST_CONTRAST:
        lightness += 0.02
        rgb = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def sample(style: Style) -> str:
    """Line and marker, for a legend."""
    shape = _shape(style.marker, style.fill)
    return (
        f'<svg viewBox="0 0 34 14" aria-hidden="true"><g class="line {_look(style)}">'
        f'<path d="M1,7H33"{_dash(style)}/><use href="#{shape}" x="17" y="7"/>'
        "</g></svg>"
    )


def drawn(figure: Chart | HeatMap, styles: Styles, places: Mapping[int, int]) -> str:
    """The figure; `places`: number of a line in the legend by its identity."""
    if isinstance(figure, HeatMap):
        return _heat_map(figure, places)
    body = [*_frame(figure.x, figure.y)]
    if figure.front:
        steps = [f"M{_at(figure.x.share(figure.front[0][0]), figure.y.share(figure.front[0][1]))}"]
        for x, y in figure.front[1:]:
            steps.append(f"H{_x(figure.x.share(x))}V{_y(figure.y.share(y))}")
        body.append(f'<path class="front" d="{"".join(steps)}H{_WIDTH - _RIGHT}"/>')
    for series in figure.series:
        style = styles[series.line.method, series.line.variant]
        body.append(
            f'<g class="line {_look(style)}" data-line="{places[id(series.line)]}" '
            f'data-name="{escaped(series.line.label)}">{_series(figure, series, style)}</g>'
        )
    return _svg(figure.title, _HEIGHT, "".join(body))


def _svg(title: str, height: float, body: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:g}" tabindex="0" role="img" '
        f'aria-label="{escaped(title)}">{body}</svg>'
    )


def _frame(x: Axis, y: Axis) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value, text in y.ticks:
        at = _y((value - y.low) / (y.high - y.low))
        parts.append(f'<path class="grid" d="M{_LEFT},{at}H{right}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{at}" dy=".35em" text-anchor="end">'
            f"{text}</text>"
        )
    for value, text in x.ticks:
        at = _x((value - x.low) / (x.high - x.low))
        parts.append(
            f'<path class="axis" d="M{at},{bottom}v4"/>'
            f'<text class="tick" x="{at}" y="{bottom + 16}" text-anchor="middle">{text}</text>'
        )
    parts.append(f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>')
    parts.append(
        f'<text x="{(_LEFT + right) / 2:g}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escaped(x.name)}</text>"
        f'<text transform="translate(12 {(_TOP + bottom) / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{escaped(y.name)}</text>'
    )
    return parts


def _series(chart: Chart, series: Series, style: Style) -> str:
    points = [(_x(chart.x.share(m.x)), _y(chart.y.share(m.y)), m) for m in series.marks]
    parts = []
    ends = [(x, chart.y.share(mark.low), chart.y.share(mark.high)) for x, _, mark in points]
    spread = [(x, _y(max(low, 0.0)), _y(min(high, 1.0))) for x, low, high in ends]
    if series.level:
        parts.append(
            f'<path class="level" d="M{_LEFT},{points[0][1]}H{_WIDTH - _RIGHT}" '
            'stroke-dasharray="1.5 3"/>'
        )
    if not chart.joined or len(points) == 1:
        bars = "".join(f"M{x},{low}V{high}" for x, low, high in spread if low != high)
        parts.append(f'<path d="{bars}"/>' if bars else "")
    else:
        if any(low != high for _, low, high in spread):
            edge = [f"{x},{high}" for x, _, high in spread]
            edge += [f"{x},{low}" for x, low, _ in reversed(spread)]
            opacity = min(_BAND, _BAND * _FEW / len(chart.series))
            outline = f'd="M{"L".join(edge)}Z"'
            parts.append(f'<path class="band" opacity="{opacity:.3f}" {outline}/>')
        line = "L".join(f"{x},{y}" for x, y, _ in points)
        parts.append(f'<path d="M{line}"{_dash(style)}/>')
    shape = _shape(style.marker, style.fill)
    parts += [
        f'<use href="#{shape}" x="{x}" y="{y}"><title>{escaped(mark.text)}</title></use>'
        for x, y, mark in points
    ]
    return "".join(parts)


def _heat_map(figure: HeatMap, places: Mapping[int, int]) -> str:
    columns = max(len(values) for _, values in figure.rows)
    most = max((v for _, values in figure.rows for v in values if not math.isnan(v)), default=0.0)
    width = (_WIDTH - _MAP_LEFT - _RIGHT) / columns
    parts = []
    for i, (line, values) in enumerate(figure.rows):
        top = _TOP + i * _ROW
        cut = len(line.label) > _NAME_LENGTH
        name = line.label[: _NAME_LENGTH - 1] + "…" if cut else line.label
        parts.append(
            f'<g class="cellmap" data-line="{places[id(line)]}" data-name="{escaped(line.label)}">'
            f'<text x="{_MAP_LEFT - 6}" y="{top + _ROW / 2:g}" dy=".35em" text-anchor="end">'
            f"{escaped(name)}</text>"
        )
        for j, value in enumerate(values):
            if not math.isnan(value):
                share = max(value, 0.0) / most if most > 0 else 0.0
                parts.append(
                    f'<rect x="{_MAP_LEFT + j * width:.1f}" y="{top}" width="{width:.1f}" '
                    f'height="{_ROW}" fill-opacity="{share:.2f}">'
                    f"<title>task {j + 1}: {number(value, 2)} points</title></rect>"
                )
        parts.append("</g>")
    bottom = _TOP + len(figure.rows) * _ROW
    step = math.ceil(columns / 10)
    parts += [
        f'<text class="tick" x="{_MAP_LEFT + (j + 0.5) * width:.1f}" y="{bottom + 15}" '
        f'text-anchor="middle">{j + 1}</text>'
        for j in range(0, columns, step)
    ]
    parts.append(
        f'<text x="{(_MAP_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{bottom + 34}" text-anchor="middle">'
        "Task</text>"
    )
    return _svg(figure.title, bottom + 42, "".join(parts))


def _shape(marker: str, fill: str) -> str:
    return f"m{list(_OUTLINES).index(marker)}-{fill}"


def _look(style: Style) -> str:
    return f"{_ink(style.colour)} {_FACES.get(style.face, 'solid')}"


def _ink(colour: str) -> str:
    return f"c{colour[1:]}"


def _dash(style: Style) -> str:
    line = style.line
    dashes = _DASHES[line] if isinstance(line, str) else " ".join(f"{2 * v:g}" for v in line[1])
    return attributes(stroke_dasharray=dashes)


def _luminance(rgb: tuple[float, float, float]) -> float:
    """Relative luminance, with the square for sRGB's curve."""
    red, green, blue = (part**2 for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _at(x: float, y: float) -> str:
    return f"{_x(x)},{_y(y)}"
