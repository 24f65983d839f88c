"""Small line charts side by side, as an SVG of plain shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _COLUMNS = 280, 190, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 40, 30
_COLOURS = ("#4338ca", "#0f766e", "#b45309")
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#374151}.t{font-weight:600;font-size:13px;"
    "fill:#111827}.g{stroke:#e5e7eb}.m{stroke:#b91c1c;stroke-dasharray:4 3}"
)


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        lines: the values of each line, one for each place on the horizontal axis.
        most: the target, drawn as a dashed line.
    """

    title: str
    lines: Mapping[str, Sequence[float]]
    most: float | None = None


def svg(places: Sequence[str], panels: Sequence[Panel]) -> str:
    """Draw panels that share their horizontal axis."""
    height = _HEIGHT * -(-len(panels) // _COLUMNS)
    drawn = [
        f'<g transform="translate({_WIDTH * (at % _COLUMNS)} {_HEIGHT * (at // _COLUMNS)})">'
        f"{_panel(places, panel)}</g>"
        for at, panel in enumerate(panels)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH * _COLUMNS} {height}">',
            f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(places: Sequence[str], panel: Panel) -> str:
    values = [value for line in panel.lines.values() for value in line]
    top = _round_up(max([*values, panel.most or 0.0]) or 1.0)
    across = (_WIDTH - _LEFT - _RIGHT) / max(1, len(places) - 1)

    def x(place: int) -> float:
        return round(_LEFT + across * place, 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top, 1)

    parts = [f'<text class="t" x="{_LEFT}" y="18">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        level = y(top * share)
        parts.append(f'<path class="g" d="M{_LEFT} {level}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{level + 4}" text-anchor="end">{top * share:g}</text>'
        )
    for place, name in enumerate(places):
        parts.append(
            f'<text x="{x(place)}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(name)}</text>'
        )
    if panel.most is not None:
        parts.append(f'<path class="m" d="M{_LEFT} {y(panel.most)}H{_WIDTH - _RIGHT}"/>')
    for at, (name, line) in enumerate(panel.lines.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        points = " ".join(f"{x(place)},{y(value)}" for place, value in enumerate(line))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{x(place)}" cy="{y(value)}" r="3" fill="{colour}"/>'
            for place, value in enumerate(line)
        ]
        if len(panel.lines) > 1:
            left = _LEFT + 70 * at
            parts.append(f'<text x="{left}" y="33" style="fill:{colour}">{escape(name)}</text>')
    return "".join(parts)


def _round_up(value: float) -> float:
    """Return the next figure that halves well."""
    scale = 10.0 ** (len(f"{int(value)}") - 1) if value >= 1 else 0.1
    return next(scale * step for step in (1, 2, 4, 6, 8, 10, 20) if scale * step >= value)
