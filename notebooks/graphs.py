"""Shared by the notebooks, not part of the package: a computation as a graph, with its numbers and their gradients.

``draw`` is for the examples by hand: forward values above each edge, gradients below it. ``maps`` is for arrays that
have too many numbers to be read: heat maps side by side. A notebook says ``import graphs`` beside ``import style``.
"""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import style
from matplotlib.colors import Normalize
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import TextPath

SIZE = 8.5  # of all words and numbers, in points
LINE, SPACE, CELL = 0.165, 0.09, 0.17  # inches: a line of numbers, between two numbers, a cell of a heat map
WIDTH, HEIGHT = 9.8, 9.8  # inches: no picture is larger
COLOURS = "PRGn"  # of heat maps: purple below 0, white, green above
MOST = 8  # rows or columns of numbers


def draw(nodes, edges, heat=False, limit=None, lanes=None):
    """Draw a computational graph: above each edge the value that it carries, in blue, below it the gradient, in orange.

        graphs.draw(
            {"x": (0, 0), "W": (0, 1), "matmul": (1, 0), "GELU": (2, 0), "y": (3, 0)},
            [("x", "matmul", x, dx), ("W", "matmul", W, dW), ("matmul", "GELU", h, dh, "h"), ("GELU", "y", y, dy)],
        )
        plt.show()

    nodes: {name: (column, row)}; row 0 is at the top, rows may be fractions. What stands behind a # is not shown, so
        that two nodes can look alike ("+#1", "+#2"); "•" is a dot, a value that is used more than once.
    edges: (from, to, value, gradient) or (from, to, value, gradient, name); a name h is written as h and dh before
        the numbers. value and gradient: numbers or arrays with at most two axes longer than 1, of the same shape, or
        None (such as the gradient of a token id). NaN, for a place that does not exist, is a dot or grey.
    heat: True draws arrays as heat maps instead of numbers, all on one scale; limit: the end of this scale
    lanes: {(from, to): row} puts the numbers of an edge into this row; else they stand in the row of ``from``, or in
        that of ``to`` where several edges leave ``from``
    returns the figure.
    raises: ValueError when value and gradient have different shapes, an array is too large for numbers, an edge has no
        such node or goes to the left, or the picture would be more than 980 pixels wide or high.
    """
    edges = [Edge(*edge) for edge in edges]
    for edge in edges:
        for name in (edge.start, edge.end):
            if name not in nodes:
                raise ValueError(f"an edge has the node {name!r}; there are {', '.join(map(repr, nodes))}")
        if nodes[edge.start][0] >= nodes[edge.end][0]:
            raise ValueError(f"the edge from {edge.start!r} to {edge.end!r} does not go to the right")
        edge.measure(heat)
    _choose_lanes(nodes, edges, lanes or {})
    columns = _columns(nodes, edges)
    heights = _rows(nodes, edges)
    lowest, highest = _extent(nodes, edges, heights)
    width, height = columns[max(columns)][1] + 0.1, highest - lowest + 0.45
    if width > WIDTH or height > HEIGHT:
        raise ValueError(f"the picture is {width:.1f} x {height:.1f} inches, more than {WIDTH} x {HEIGHT}")
    figure, axes = _canvas(max(width, 2.6 if heat else 1.8), height)
    scale = _scale([a for e in edges for a in (e.value, e.gradient)], limit) if heat else None
    middles = {name: (sum(columns[c]) / 2, heights(row) - lowest + 0.1) for name, (c, row) in nodes.items()}
    for edge in edges:
        slanting = any(e.end == edge.end and e.lane != nodes[e.end][1] for e in edges)
        edge.draw(axes, middles, columns, nodes, heights(edge.lane) - lowest + 0.1, scale, slanting)
    for name, (x, y) in middles.items():
        _draw_node(axes, name, x, y, any(edge.end == name for edge in edges))
    axes.text(0.1, height - 0.13, "value", color=style.BLUE, fontsize=SIZE, va="center")
    if any(edge.below for edge in edges):
        axes.text(0.55, height - 0.13, "gradient", color=style.ORANGE_TEXT, fontsize=SIZE, va="center")
    if heat:
        _draw_scale(figure, axes, scale, 1.35, height - 0.19)
    return figure


def maps(arrays, columns=3, limit=None, size=1.5):
    """Draw arrays as heat maps side by side, all on one scale around 0; the frame of a gradient is orange.

        graphs.maps({"probs": probs, "dprobs": dprobs, "dscores": dscores})

    arrays: {name: array}, in reading order; a name that begins with d is a gradient. NaN is grey.
    columns: pictures in a row; limit: the end of the scale, the largest number by default; size: of one, in inches
    returns the figure.
    """
    rows = -(-len(arrays) // columns)
    scale = _scale(list(arrays.values()), limit)
    inches = _pixels(columns * size + 0.9), _pixels(rows * (size + 0.25))
    figure, axes = plt.subplots(rows, columns, figsize=inches, squeeze=False)
    for axis in axes.flat[len(arrays) :]:
        axis.axis("off")
    for axis, (name, array) in zip(axes.flat, arrays.items(), strict=False):
        colour, text = _colours(name.startswith("d"))
        image = axis.imshow(_flat(array), cmap=_colourmap(), norm=scale, interpolation="nearest")
        axis.set_title(name, color=text)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color=colour, linewidth=1.6)
    figure.colorbar(image, ax=axes, extend=_extend(list(arrays.values()), scale), aspect=25)
    return figure


def number(value):
    """A number as text: a fraction where it is a simple one, else with three digits."""
    value = float(value)
    if np.isnan(value):
        return "·"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    fraction = Fraction(value).limit_denominator(36)
    simple = fraction.denominator != 25 and abs(float(fraction) - value) <= 1e-9 * max(1, abs(value))
    return (str(fraction) if simple else f"{value:.3g}").replace("-", "−")


class Edge:
    """An edge with its numbers; lengths are inches."""

    def __init__(self, start, end, value, gradient, name=None):
        self.start, self.end, self.name = start, end, name
        self.value, self.gradient = (None if a is None else np.asarray(a, dtype=float) for a in (value, gradient))
        if value is not None and gradient is not None and self.value.shape != self.gradient.shape:
            raise ValueError(
                f"from {start!r} to {end!r}: the value has shape {self.value.shape}, its gradient "
                f"{self.gradient.shape}; an array and its gradient have the same shape"
            )

    def measure(self, heat):
        """Find the room that the numbers take."""
        self.above, self.below = (
            None if array is None else Matrix(array, heat, name)
            for array, name in ((self.value, self.name), (self.gradient, self.name and f"d{self.name}"))
        )
        parts = [part for part in (self.above, self.below) if part]
        if len(parts) == 2:  # number stands below number
            self.above.align(self.below)
        self.width = max([part.width for part in parts], default=0.15)
        self.up = self.above.height + 0.07 if self.above else 0.05
        self.down = self.below.height + 0.07 if self.below else 0.05

    def draw(self, axes, middles, columns, nodes, y, scale, slanting):
        """Draw the line, an arrow at its end, and the numbers in the middle of the level part of it.

        slanting: whether another line comes down or up to the same end, where it should not cross the numbers
        """
        (x0, y0), (x1, y1) = middles[self.start], middles[self.end]
        x0, x1 = x0 + _node_size(self.start)[0] / 2, x1 - _node_size(self.end)[0] / 2
        left, right = columns[nodes[self.start][0]][1], columns[nodes[self.end][0]][0]
        bends = [(x0, y0)]
        if abs(y - y0) > 1e-9:
            left += 0.3
            bends.append((left, y))
        else:
            left = x0
        if abs(y - y1) > 1e-9:
            right -= 0.3
            bends.append((right, y))
        elif slanting:
            right -= 0.3
        middle = max((left + right) / 2, min(left + self.width / 2 + 0.04, right + 0.3 - self.width / 2))
        if bends[1:]:
            axes.plot(*zip(*bends, strict=True), color="0.5", lw=1, ls="-", zorder=1)
        arrow = {"arrowstyle": "-|>", "color": "0.5", "lw": 1, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
        axes.annotate("", xy=(x1, y1), xytext=bends[-1], arrowprops=arrow, zorder=1)
        if self.above:
            self.above.draw(axes, middle, y - 0.05 - self.above.height / 2, False, scale)
        if self.below:
            self.below.draw(axes, middle, y + 0.05 + self.below.height / 2, True, scale)


class Matrix:
    """An array as small numbers between brackets, or as a heat map, perhaps with a name before it."""

    def __init__(self, array, heat, name):
        self.array, self.name = _flat(array), f"${name}$" if name else ""
        rows, columns = self.array.shape
        self.heat = heat and array.size > 1
        if self.heat:
            self.widths, self.height = [CELL] * columns, CELL * rows
        else:
            if max(rows, columns) > MOST:
                raise ValueError(f"an array of shape {array.shape} has too many numbers to be read: draw heat maps")
            self.words = [[number(v) for v in row] for row in self.array]
            self.widths = [max(_length(row[j]) for row in self.words) + SPACE for j in range(columns)]
            self.height = LINE * rows
        self.label = _length(self.name) + 0.07 if name else 0

    @property
    def width(self):
        return sum(self.widths) + 0.08 + self.label

    def align(self, other):
        """Give both the wider one's columns."""
        self.label = other.label = max(self.label, other.label)
        self.widths = other.widths = [max(pair) for pair in zip(self.widths, other.widths, strict=True)]

    def draw(self, axes, x, y, gradient, scale):
        """Draw it around (x, y)."""
        colour, text = _colours(gradient)
        rows, columns = self.array.shape
        left, right = x - self.width / 2 + self.label + 0.04, x + self.width / 2 - 0.04
        top, bottom = y - self.height / 2, y + self.height / 2
        style_of = {"ha": "center", "va": "center_baseline", "fontsize": SIZE, "color": text, "zorder": 3}
        if self.name:
            axes.text(left - 0.07, y, self.name, **style_of | {"ha": "right"})
        if self.heat:
            for i, j in np.ndindex(rows, columns):
                face = _colourmap()(scale(self.array[i, j])) if np.isfinite(self.array[i, j]) else "0.85"
                axes.add_patch(Rectangle((left + j * CELL, top + i * CELL), CELL, CELL, fc=face, ec="0.8", lw=0.4))
            axes.add_patch(Rectangle((left, top), columns * CELL, self.height, fc="none", ec=colour, lw=1.4, zorder=3))
            return
        edges = left + np.cumsum([0, *self.widths])
        for i, row in enumerate(self.words):
            for j, word in enumerate(row):
                axes.text((edges[j] + edges[j + 1]) / 2, top + (i + 0.5) * LINE, word, **style_of)
        if self.array.size > 1:
            for side, inner in ((left - 0.01, 0.035), (right + 0.01, -0.035)):
                points = [(side + inner, top), (side, top), (side, bottom), (side + inner, bottom)]
                axes.plot(*zip(*points, strict=True), color=text, lw=0.8, ls="-", zorder=3)


def _choose_lanes(nodes, edges, lanes):
    """The row of each edge's numbers."""
    for edge in edges:
        start, end = nodes[edge.start][1], nodes[edge.end][1]
        alone = sum(other.start == edge.start for other in edges) == 1
        edge.lane = lanes.get((edge.start, edge.end), start if alone else end)


def _columns(nodes, edges):
    """{column: (left, right)}, so that there is room for the numbers between two columns."""
    numbers = sorted({column for column, _ in nodes.values()})
    widths = {c: max(_node_size(name)[0] for name, (column, _) in nodes.items() if column == c) for c in numbers}
    found, x = {numbers[0]: (0.1, 0.1 + widths[numbers[0]])}, 0.1 + widths[numbers[0]]
    for after in numbers[1:]:
        gap = 0.3
        for edge in edges:
            start, end = nodes[edge.start], nodes[edge.end]
            if end[0] == after:
                slants = 0.3 * (edge.lane != start[1]) + 0.3 * (edge.lane != end[1])
                gap = max(gap, edge.width + 0.16 + slants - (x - found[start[0]][1]))
        found[after] = (x + gap, x + gap + widths[after])
        x = found[after][1]
    return found


def _rows(nodes, edges):
    """A function from rows to inches, downwards, so that no numbers cover each other."""
    rows = [row for _, row in nodes.values()] + [edge.lane for edge in edges]
    first, last = int(np.floor(min(rows))), int(np.ceil(max(rows)))
    spacing = np.full(max(1, last - first), 0.3)

    def height(row):
        return float(np.interp(row - first, np.arange(len(spacing) + 1), np.cumsum([0, *spacing])))

    boxes = [(nodes[e.start][0] + 0.25, nodes[e.end][0] - 0.25, e.lane, e.up, e.down) for e in edges]
    boxes += [(c, c, row, *(2 * [_node_size(name)[1] / 2 + 0.03])) for name, (c, row) in nodes.items()]
    for one in boxes:
        for two in boxes:
            if one[0] <= two[1] and two[0] <= one[1] and one[2] < two[2]:
                missing = one[4] + two[3] + 0.06 - (height(two[2]) - height(one[2]))
                if missing > 0:
                    parts = np.clip(np.arange(len(spacing)) + 1, one[2] - first, two[2] - first)
                    parts -= np.clip(np.arange(len(spacing)), one[2] - first, two[2] - first)
                    spacing += missing * parts / (parts**2).sum()
    return height


def _extent(nodes, edges, height):
    """The uppermost and the lowest inch."""
    boxes = [(height(row), *(2 * [_node_size(name)[1] / 2])) for name, (_, row) in nodes.items()]
    boxes += [(height(edge.lane), edge.up, edge.down) for edge in edges]
    return min(y - up for y, up, _ in boxes), max(y + down for y, _, down in boxes)


def _draw_node(axes, name, x, y, operation):
    if _shown(name) == "•":
        axes.plot([x], [y], "o", color="0.3", ms=5, ls="", zorder=2)
        return
    width, height = _node_size(name)
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2 + 0.05, y - height / 2 + 0.05),
            width - 0.1,
            height - 0.1,
            boxstyle=f"round,pad=0.05,rounding_size={0.09 if operation else 0.001}",
            fc="white" if operation else "0.93",
            ec="0.35" if operation else "0.8",
            lw=0.9,
            zorder=2,
        )
    )
    axes.text(x, y, _shown(name), ha="center", va="center_baseline", fontsize=SIZE, color="0.1", zorder=3)


def _node_size(name):
    """Width and height of a node."""
    lines = _shown(name).split("\n")
    if lines == ["•"]:
        return 0.06, 0.06
    return max(0.3, max(_length(line) for line in lines) + 0.16), 0.14 + 0.15 * len(lines)


def _shown(name):
    return name.partition("#")[0]


def _length(word):
    """The width of a word, in inches."""
    return float(TextPath((0, 0), word, size=SIZE).get_extents().width) / 72 if word.strip() else 0.0


def _flat(array):
    """An array with two axes: those longer than 1, a vector as a row."""
    array = np.asarray(array, dtype=float)
    while array.ndim > 2 and 1 in array.shape:
        array = array.squeeze(array.shape.index(1))
    if array.ndim > 2:
        raise ValueError(f"an array of shape {array.shape} has more than two axes: draw a part of it")
    return np.atleast_2d(array)


def _colours(gradient):
    """The colours of lines and of words."""
    return (style.ORANGE, style.ORANGE_TEXT) if gradient else (style.BLUE, style.BLUE)


def _colourmap():
    return plt.get_cmap(COLOURS).with_extremes(bad="0.85")


def _numbers(arrays):
    return np.concatenate([np.abs(np.ravel(a)) for a in arrays if a is not None and np.size(a) > 1] or [np.ones(1)])


def _scale(arrays, limit):
    """Colours from -limit to limit."""
    numbers = _numbers(arrays)
    end = float(limit or numbers[np.isfinite(numbers)].max() or 1)
    return Normalize(-end, end, clip=True)


def _extend(arrays, scale):
    """Which ends of the scale are passed by a number."""
    numbers = _numbers(arrays)
    return "both" if numbers[np.isfinite(numbers)].max() > scale.vmax * (1 + 1e-9) else "neither"


def _draw_scale(figure, axes, scale, x, y):
    """The scale of the heat maps: a strip with its two ends and its middle."""
    ramp, step = np.linspace(scale.vmin, scale.vmax, 21), 0.045
    for i, value in enumerate(ramp):
        axes.add_patch(Rectangle((x + 0.45 + i * step, y), step, 0.11, fc=_colourmap()(scale(value)), ec="none"))
    for value, place, side in ((scale.vmin, x + 0.4, "right"), (scale.vmax, x + 0.5 + 21 * step, "left")):
        axes.text(place, y + 0.06, number(value), fontsize=SIZE, ha=side, va="center_baseline", color="0.3")


def _pixels(inches):
    """The next whole number of pixels, in inches; a little more, as the fraction of a pixel is cut off."""
    return (np.ceil(inches * 100) + 0.01) / 100


def _canvas(width, height):
    """A figure with axes whose unit is the inch, y downwards."""
    figure = plt.figure(figsize=(_pixels(width), _pixels(height)), layout=PlaceHolderLayoutEngine(True, True))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes
