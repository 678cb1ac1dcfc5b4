"""Pictures of computational graphs in the notebooks show the numbers that they are given, and nothing covers them."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

for package in ("matplotlib", "matplotlib_inline", "IPython"):
    pytest.importorskip(package, reason=f"needs {package}, of the extra 'notebooks'")
import matplotlib as mpl  # noqa: E402

FOLDER = Path(__file__).parents[1] / "notebooks"


@pytest.fixture
def graphs(monkeypatch):
    """The helper of the notebooks, with pictures that nobody sees."""
    mpl.use("agg")
    monkeypatch.syspath_prepend(str(FOLDER))
    import graphs

    with mpl.rc_context():
        yield graphs
    graphs.plt.close("all")
    for name in ("graphs", "style"):
        sys.modules.pop(name, None)


LINEAR = {
    "nodes": {"x": (0, 0), "W": (0, 1), "matmul": (1, 0), "+": (2, 0), "b": (1, 1), "y": (3, 0)},
    "edges": [
        ("x", "matmul", [[1, -2]], [[7, 1 / 3]]),
        ("W", "matmul", [[3, 4], [5, 6]], [[11, 12], [13, 0.125]]),
        ("matmul", "+", [[-8.5, 9]], [[21, 22]], "h"),
        ("b", "+", [31, 32], [33, np.log(2)]),
        ("+", "y", [[41, 42]], None),
    ],
}
RESIDUAL = {
    "nodes": {"x": (0, 1), "•": (1, 1), "LN": (2, 0), "+#1": (3, 1), "y": (4, 1)},
    "edges": [
        ("x", "•", [[1, 2], [3, 4]], [[5, 6], [7, 8]]),
        ("•", "LN", [[1, 2], [3, 4]], [[5, 6], [7, 8]]),
        ("LN", "+#1", [[1, 2], [3, 4]], [[5, 6], [7, 8]], "n"),
        ("•", "+#1", [[1, 2], [3, 4]], [[5, 6], [7, 8]]),
        ("+#1", "y", [[1, 2], [3, 4]], [[5, 6], [7, 8]]),
    ],
}


def words(figure, colour):
    """The words of one colour in a figure, except for those below it that say what the colours mean."""
    texts = [text for axes in figure.axes for text in axes.texts if text.get_color() == colour]
    return [text.get_text() for text in texts if text.get_text() not in ("value", "gradient", "")]


def test_every_value_and_every_gradient_is_shown_in_its_colour(graphs):
    figure = graphs.draw(**LINEAR)
    values = ["1", "−2", "3", "4", "5", "6", "−17/2", "9", "31", "32", "41", "42", "$h$"]
    gradients = ["7", "1/3", "11", "12", "13", "1/8", "21", "22", "33", "0.693", "$dh$"]
    assert sorted(words(figure, graphs.style.BLUE)) == sorted(values)
    assert sorted(words(figure, graphs.style.ORANGE_TEXT)) == sorted(gradients)
    assert {"x", "W", "b", "matmul", "+", "y"} <= {text.get_text() for text in figure.axes[0].texts}


def test_values_stand_above_their_edge_and_gradients_below(graphs):
    figure = graphs.draw({"x": (0, 0), "y": (1, 0)}, [("x", "y", 2, 3)])
    height = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert height["2"] < height["x"] < height["3"], "y points downwards"


@pytest.mark.parametrize(("gradient", "legend"), [(3, {"value", "gradient"}), (None, {"value"})])
def test_the_legend_names_gradients_where_there_are_any(graphs, gradient, legend):
    figure = graphs.draw({"x": (0, 0), "y": (1, 0)}, [("x", "y", 2, gradient)])
    assert {text.get_text() for text in figure.axes[0].texts} & {"value", "gradient"} == legend


@pytest.mark.parametrize("graph", [LINEAR, RESIDUAL], ids=["linear", "residual"])
def test_no_word_covers_another_and_all_are_in_the_picture(graphs, graph):
    figure = graphs.draw(**graph)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    for one, two in itertools.combinations(boxes, 2):
        wide = min(one.x1, two.x1) - max(one.x0, two.x0)
        high = min(one.y1, two.y1) - max(one.y0, two.y0)
        assert wide <= 1 or high <= 3, "more than the empty rim around the words"
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)


@pytest.mark.parametrize("names", ["a", "abc", "abcdefg"])
def test_a_picture_is_a_whole_number_of_pixels_in_either_resolution(graphs, names):
    figure = graphs.draw({name: (i, 0) for i, name in enumerate(names + "y")}, [(names[-1], "y", 1 / 3, 2, "h")])
    assert [int(2 * 100 * side) for side in figure.get_size_inches()] == [
        2 * int(100 * side) for side in figure.get_size_inches()
    ]


def test_unequal_shapes_of_value_and_gradient_are_an_error(graphs):
    with pytest.raises(ValueError, match=r"from 'x' to 'y': the value has shape \(2,\), its gradient \(1, 2\)"):
        graphs.draw({"x": (0, 0), "y": (1, 0)}, [("x", "y", [1, 2], [[1, 2]])])


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        (("x", "z", 1, 1), "an edge has the node 'z'; there are 'x', 'y'"),
        (("y", "x", 1, 1), "from 'y' to 'x' does not go to the right"),
        (("x", "y", np.ones((9, 2)), None), r"shape \(9, 2\) has too many numbers to be read"),
        (("x", "y", np.ones((2, 2, 2)), None), r"shape \(2, 2, 2\) has more than two axes"),
        (("x", "y", np.full((1, 8), 1e-5 / 3) * 1e3, None, "a" * 90), "inches, more than"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(graphs, edge, message):
    with pytest.raises(ValueError, match=message):
        graphs.draw({"x": (0, 0), "y": (1, 0)}, [edge])


def faces(figure):
    """The colours of the cells of heat maps."""
    return [mpl.colors.to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]


def test_heat_maps_have_one_scale_for_values_and_gradients(graphs):
    edges = [("x", "y", [[2.0, -1], [0, np.nan]], [[-2.0, 1], [0, np.nan]])]
    figure = graphs.draw({"x": (0, 0), "y": (1, 0)}, edges, heat=True)
    colours = graphs.plt.get_cmap("PRGn")
    expected = [mpl.colors.to_hex(colours(level)) for level in (1.0, 0.25, 0.5, 0.0, 0.75)]
    assert set(expected) <= set(faces(figure)) and mpl.colors.to_hex("0.85") in faces(figure)
    assert {"2", "−2"} <= {text.get_text() for text in figure.axes[0].texts}, "the ends of the scale"


def test_maps_have_a_frame_that_says_which_are_gradients(graphs):
    figure = graphs.maps({"probs": np.eye(3), "dprobs": -np.eye(3), "dq": 2 * np.ones((3, 2))})
    pictures = figure.axes[:3]
    edges = [mpl.colors.to_hex(axes.spines["left"].get_edgecolor()) for axes in pictures]
    assert edges == [graphs.style.BLUE, graphs.style.ORANGE, graphs.style.ORANGE]
    assert {axes.images[0].get_clim() for axes in pictures} == {(-2.0, 2.0)}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "1/2"), (-1 / 3, "−1/3"), (7.0, "7"), (0.04, "0.04"), (np.log(2), "0.693"), (-0.0, "0"), (np.nan, "·"),
     (-np.inf, "−∞"), (1e-5, "1e−05"), (5 / 36, "5/36"), (1 / 37, "0.027")],
)  # fmt: skip
def test_simple_numbers_are_fractions(graphs, value, text):
    assert graphs.number(value) == text
