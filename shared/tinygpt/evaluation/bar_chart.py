"""A bar chart as inline SVG. Each row has a label and one bar per series. Colours come from the page's CSS."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LEFT, _PLOT, _RIGHT = 250, 390, 150
_BAR, _GAP, _AXIS = 11, 9, 18
_MAX_LABEL_LENGTH = 38


@dataclass(frozen=True)
class Bar:
    """A share from 0 to 1, and its confidence interval."""

    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class BarRow:
    """A label, one bar per series, and a note at the right."""

    label: str
    bars: tuple[Bar, ...]
    note: str = ""


def bar_chart(title: str, rows: Sequence[BarRow]) -> str:
    """The chart as an `<svg>` element. Bars of series n, counted from 0, have the CSS class `series-n`."""
    height = _AXIS
    parts: list[str] = []
    for row in rows:
        parts.append(_label(row, height + _BAR * len(row.bars) / 2))
        for series, bar in enumerate(row.bars):
            parts.append(_bar(bar, series, height, f"{row.label}: {bar.share:.1%}"))
            height += _BAR
        height += _GAP
    ticks = "".join(
        f'<line class="grid" x1="{x}" x2="{x}" y1="{_AXIS - 4}" y2="{height}"/>'
        f'<text class="tick" x="{x}" y="{_AXIS - 7}" text-anchor="middle">{share}%</text>'
        for share, x in ((share, _LEFT + _PLOT * share / 100) for share in (0, 25, 50, 75, 100))
    )
    width = _LEFT + _PLOT + _RIGHT
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{ticks}{"".join(parts)}</svg>'


def _label(row: BarRow, middle: float) -> str:
    label = row.label if len(row.label) <= _MAX_LABEL_LENGTH else row.label[: _MAX_LABEL_LENGTH - 1] + "…"
    shares = " / ".join(f"{bar.share:.0%}" for bar in row.bars)
    return (
        f'<text class="label" x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(label)}</text>'
        f'<text class="value" x="{_LEFT + _PLOT + 10}" y="{middle + 4}">{shares}'
        f'<tspan class="note" dx="8">{escape(row.note)}</tspan></text>'
    )


def _bar(bar: Bar, series: int, top: float, title: str) -> str:
    low, high = (_LEFT + _PLOT * share for share in bar.interval)
    middle = top + _BAR / 2
    return (
        f'<g class="series-{series}"><title>{escape(title)}</title>'
        f'<rect class="track" x="{_LEFT}" y="{top}" width="{_PLOT}" height="{_BAR - 1}"/>'
        f'<rect class="bar" x="{_LEFT}" y="{top}" width="{_PLOT * bar.share:.1f}" height="{_BAR - 1}"/>'
        f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/></g>'
    )
