"""The exercises' checks as pytest tests of whatever ``adapters.py`` calls.

    pytest                       all of them, and the points at the end
    pytest -k layer_norm         those with this in their name
"""

import adapters
import pytest

from minigpt2.exercises import check, names, whole

FUNCTIONS = {name: getattr(adapters, name, None) for name in names()}


@pytest.mark.parametrize("name", names())
def test_task(name, record_property):
    report = check(name, FUNCTIONS[name], forward=whole.own_forward(name, FUNCTIONS))
    record_property("score", (name, report.score))
    if not report:
        pytest.fail(report.text, pytrace=False)


def test_whole_model():
    report = whole.check_whole(FUNCTIONS)
    print(report)  # with pytest -s: which parts are yours
    if not report:
        pytest.fail(report.text, pytrace=False)
