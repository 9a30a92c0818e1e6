"""One line chart as SVG, both axes logarithmic, legible on light and on dark pages."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 72, 20, 92, 56
MARGIN = 36  # between the frame and the first and last points

# Marks differ too, so that the lines are told apart without colour.
MARKS = [
    '<circle r="5" cx="{x:.1f}" cy="{y:.1f}"/>',
    '<path d="M{x:.1f} {y:.1f} m-5 -5 h10 v10 h-10 z"/>',
    '<path d="M{x:.1f} {y:.1f} m0 -7 l6 11 h-12 z"/>',
]

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #52514e; }
    .title { font-size: 16px; font-weight: 600; fill: #0b0b0b; }
    .value { font-size: 12px; fill: #0b0b0b; }
    .page { fill: #fcfcfb; }
    .grid { stroke: #e1e0d9; }
    .line { fill: none; stroke-width: 2; }
    .s0 { stroke: #2a78d6; } .s0.mark { fill: #2a78d6; }
    .s1 { stroke: #1baf7a; } .s1.mark { fill: #1baf7a; }
    .s2 { stroke: #898781; } .s2.mark { fill: #898781; }
    @media (prefers-color-scheme: dark) {
      text { fill: #c3c2b7; }
      .title, .value { fill: #ffffff; }
      .page { fill: #1a1a19; }
      .grid { stroke: #383835; }
      .s0 { stroke: #3987e5; } .s0.mark { fill: #3987e5; }
      .s1 { stroke: #199e70; } .s1.mark { fill: #199e70; }
    }
"""


def line_chart(title, x_label, y_label, series):
    """`series` is up to three pairs of a name and (x, y) points above 0."""
    points = [point for _, line in series for point in line]
    across = Axis([x for x, _ in points], LEFT + MARGIN, WIDTH - RIGHT - MARGIN)
    up = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    body = [f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
            text(LEFT, 32, title, "title"), *legend(series), *grid(across, up),
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label, anchor="middle"),
            text(0, 0, y_label, anchor="middle", at=f'transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"')]
    for index, (_, line) in enumerate(series):
        body += one_line(index, [(across.place(x), up.place(y), y) for x, y in line])
    lines = "\n  ".join(body)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
            f'aria-label="{escape(title)}">\n  <style>{STYLE}  </style>\n  {lines}\n</svg>\n')


class Axis:
    """A logarithmic scale over whole decades, between two places in the picture."""

    def __init__(self, values, first, last):
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high = max(self.high, self.low + 1)
        self.first, self.last = first, last

    def place(self, value):
        return self.first + (math.log10(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    def decades(self):
        return [10**power for power in range(self.low, self.high + 1)]


def grid(across, up):
    for value in up.decades():
        y = up.place(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield text(LEFT - 8, y + 4, f"{value:,}", anchor="end")
    for value in across.decades():
        x = across.place(value)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        yield text(x, HEIGHT - BOTTOM + 20, f"{value:,}", anchor="middle")


def legend(series):
    x = LEFT
    for index, (name, _) in enumerate(series):
        yield f'<path class="line s{index}" d="M{x} 58 h28"/>' + mark(index, x + 14, 58)
        yield text(x + 36, 62, name)
        x += 56 + 6.6 * len(name)


def one_line(index, points):
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
    yield f'<path class="line s{index}" d="M{path}"/>'
    for x, y, value in points:
        yield mark(index, x, y)
        yield text(x, y - 12, f"{value:,.0f}", "value", "middle")


def mark(index, x, y):
    return f'<g class="mark s{index}">{MARKS[index].format(x=x, y=y)}</g>'


def text(x, y, words, style="", anchor="start", at=None):
    at = at or f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text class="{style}" text-anchor="{anchor}" {at}>{escape(words)}</text>'
