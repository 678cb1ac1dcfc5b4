"""Small functions that hide whether arrays live on the host or on a device."""

import re
import subprocess
import sys

import numpy as np
import pytest

from minigpt2 import backend
from minigpt2.parallel import has_false_alarms


def test_masked_mean():
    mean = backend.masked_mean(np.array([1, 2, np.inf, 4], "float32"), np.array([True, True, False, True]))
    assert mean == np.float32(7 / 3) and mean.dtype == "float32"


PRODUCTS = """
import sys
import numpy as np
if sys.argv[1] == "accelerate":
    np.show_config = lambda mode: {"Build Dependencies": {"blas": {"name": "accelerate"}}}
import minigpt2
large = np.full((2, 2), 3e38, np.float32)
large @ large
np.exp(large)
"""


@pytest.mark.parametrize(("blas", "expected"), [("accelerate", ["exp"]), ("openblas", ["matmul", "exp"])])
def test_false_alarms_of_accelerate_are_not_shown(blas, expected):
    """The flags stand for those that Accelerate leaves set: NumPy says the same of them."""
    if blas != "accelerate" and has_false_alarms():
        pytest.skip("this NumPy is built with Accelerate")
    done = subprocess.run([sys.executable, "-c", PRODUCTS, blas], capture_output=True, text=True, timeout=60)
    assert re.findall(r"overflow encountered in (\w+)", done.stderr) == expected, done.stderr
