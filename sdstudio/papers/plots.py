"""Line plots as SVG, so that a page of results needs no drawing library and shows everywhere."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 306, 34, 44
COLOURS = ("#B5502A", "#2F6F73", "#C99A2E", "#6B5B95", "#5B7F3A", "#A23B52", "#3E7CB1", "#8A6D3B", "#4F4F4F")
GREY = "#8F867B"
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a line; `low` and `high` are the ends of its bar."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Frame:
    """From values to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def up(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def line_plot(
    title: str, across: str, lines: Mapping[str, Sequence[Point]], marks: Mapping[str, float] | None = None
) -> str:
    """The plot as SVG: `lines` by name, each with its colour and bars, and `marks` as dashed lines over the width."""
    marks = marks or {}
    points = [point for line in lines.values() for point in line]
    heights = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    x = _range([point.x for point in points], 0.0)
    frame = _Frame(x, _range([*heights, *marks.values()], 0.05))
    parts = [_axes(title, across, frame)]
    for name, value in marks.items():
        y = frame.up(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GREY}" stroke-dasharray="5 4"/>')
        parts.append(_text(WIDTH - RIGHT - 4, y - 4, name, anchor="end", colour=GREY))
    for index, (name, line) in enumerate(lines.items()):
        parts.append(_line(name, line, frame, COLOURS[index % len(COLOURS)], index))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _line(name: str, line: Sequence[Point], frame: _Frame, colour: str, index: int) -> str:
    spots = [(frame.across(point.x), frame.up(point.y)) for point in line]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    parts = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>']
    for (x, y), point in zip(spots, line, strict=True):
        if point.low is not None and point.high is not None:
            bar = f"M{x:.1f} {frame.up(point.low):.1f}V{frame.up(point.high):.1f}"
            parts.append(f'<path d="{bar}" stroke="{colour}" stroke-opacity="0.5"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
    top = TOP + 8 + 18 * index
    parts.append(f'<path d="M{WIDTH - RIGHT + 12} {top}h16" stroke="{colour}" stroke-width="3"/>')
    parts.append(_text(WIDTH - RIGHT + 34, top + 4, name))
    return "".join(parts)


def _axes(title: str, across: str, frame: _Frame) -> str:
    parts = [_text(LEFT, 20, title, size=14, weight=600)]
    for value in _ticks(frame.y):
        y = frame.up(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#E3DCD0"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", anchor="end", colour=GREY))
    for value in _ticks(frame.x):
        parts.append(_text(frame.across(value), HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle", colour=GREY))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 8, across, anchor="middle", colour=GREY))
    return "".join(parts)


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = "#26221D", size: int = 12, weight: int = 400
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}" font-weight="{weight}">{escape(text)}</text>'


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * margin or (0.0 if high > low else 0.5)
    return low - room, high + room


def _ticks(span: tuple[float, float]) -> list[float]:
    """Round numbers within the span, about `TICKS` of them."""
    rough = (span[1] - span[0]) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(span[0] / step)
    last = math.floor(span[1] / step)
    return [round(index * step, 10) for index in range(first, last + 1)]
