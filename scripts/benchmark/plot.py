"""Line charts as SVG: small, without any library, and legible on a light and on a dark page."""

import collections
import html
import math

WIDTH, HEIGHT = 600, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 64, 48
# In the middle between light and dark, and told apart by those who do not see all colours.
COLORS = ["#0f83c9", "#d9730d", "#2a9d6f", "#b05fc0", "#8a8a8a"]
DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2"]
GREY = "#7d7d7d"

# `points` are pairs of x and y.
Line = collections.namedtuple("Line", "name points")


class Chart:
    """Lines over one axis. `log` spreads x by its logarithm and marks the values that were measured; `mark` is a
    place on the axis of x, and what it is called. The axis of y begins at nothing, unless `log_y` spreads it by
    powers of ten."""

    def __init__(self, title, x_name, y_name, lines, log=False, log_y=False, mark=None, x_shown=None):
        self.title, self.x_name, self.y_name, self.lines = title, x_name, y_name, lines
        self.log, self.log_y, self.mark, self.x_shown = log, log_y, mark, x_shown or shown
        points = [point for line in lines for point in line.points] or [(0, 0)]
        xs = [x for x, _ in points]
        self.least, self.most = min(xs), max(xs)
        ys = [y for _, y in points]
        if log_y:
            low = math.floor(math.log10(min(y for y in ys if y > 0)))
            high = math.ceil(math.log10(max(ys)))
            self.y_ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
        else:
            step = nice(max(ys) * 1.05 / 4 or 1)
            self.y_ticks = [step * n for n in range(math.ceil(max(ys) * 1.02 / step or 1) + 1)]
        self.known = sorted(set(xs)) if log else None

    def x(self, value):
        if self.log:
            share = math.log(value / self.least) / (math.log(self.most / self.least) or 1)
        else:
            share = (value - self.least) / ((self.most - self.least) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        low, top = self.y_ticks[0], self.y_ticks[-1]
        share = math.log(max(value, low) / low) / math.log(top / low) if self.log_y else value / top
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def x_ticks(self):
        if self.known:
            return self.known
        step = nice((self.most - self.least) / 6 or 1)
        first = math.ceil(self.least / step - 1e-9)
        return [n * step for n in range(first, int(self.most / step + 1e-9) + 1)]

    def svg(self):
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
               f'height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="11" fill="{GREY}" role="img">',
               f"<title>{html.escape(self.title)}</title>",
               text(LEFT, 18, self.title, 'font-size="14" font-weight="600"')]
        for number, value in enumerate(self.y_ticks):
            out.append(f'<path d="M{LEFT} {self.y(value):.1f}H{WIDTH - RIGHT}" stroke="{GREY}" '
                       f'stroke-opacity="{0.25 if number else 0.8}"/>')
            out.append(text(LEFT - 6, self.y(value) + 4, shown(value), 'text-anchor="end"'))
        for value in self.x_ticks():
            out.append(f'<path d="M{self.x(value):.1f} {HEIGHT - BOTTOM}v4" stroke="{GREY}"/>')
            out.append(text(self.x(value), HEIGHT - BOTTOM + 16, self.x_shown(value), 'text-anchor="middle"'))
        if self.mark:
            at = self.x(self.mark[0])
            out.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-dasharray="2 4"/>')
            out.append(text(at + 4, TOP + 10, self.mark[1]))
        out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_name, 'text-anchor="middle"'))
        out.append(text(8, TOP - 8, self.y_name))
        out += self.curves()
        return "\n".join([*out, "</svg>", ""])

    def curves(self):
        out, at = [], LEFT
        for number, line in enumerate(self.lines):
            color = COLORS[number % len(COLORS)]
            stroke = f'stroke="{color}" stroke-width="2" stroke-dasharray="{DASHES[number % len(DASHES)]}"'
            path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in line.points)
            out.append(f'<path d="M{path}" fill="none" stroke-linejoin="round" {stroke}/>')
            if len(line.points) <= 12:
                out += [f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3" fill="{color}"/>'
                        for x, y in line.points]
            out.append(f'<path d="M{at} 36h20" {stroke}/>')
            out.append(text(at + 25, 40, line.name, f'fill="{color}"'))
            at += 45 + 6 * len(line.name)
        return out


def write(path, chart):
    with open(path, "w", encoding="utf-8") as file:
        file.write(chart.svg())


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{html.escape(words)}</text>'


def nice(step):
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)


def shown(value):
    """A number as it stands at an axis."""
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:g}"
