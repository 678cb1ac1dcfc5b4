"""The exercises' checks as pytest tests of whatever ``adapters.py`` calls.

    pytest notebooks/exercises/adapters                    all of them
    pytest notebooks/exercises/adapters -k layer_norm      one exercise
"""

import adapters
import pytest

from minigpt2.exercises import check, names


@pytest.mark.parametrize("name", names())
def test_task(name):
    report = check(name, getattr(adapters, name))
    if not report:
        pytest.fail(report.text, pytrace=False)
