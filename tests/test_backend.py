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
from minigpt2.parallel import in_parallel, matmul
large = np.full((600, 600), 3e38, np.float32)
for rows in 2, 20, 600:  # one core, one block, several threads
    matmul(large[:rows], large)
in_parallel(lambda part: large @ large, range(2))  # as attention
np.exp(large)
"""


@pytest.mark.parametrize("blas", ["accelerate", "openblas"])
def test_false_alarms_of_accelerate_are_not_shown(blas):
    """The flags of products that are too large stand for those that Accelerate leaves set: NumPy says the same."""
    if blas != "accelerate" and has_false_alarms():
        pytest.skip("this NumPy is built with Accelerate")
    call = [sys.executable, "-W", "always", "-c", PRODUCTS, blas]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    found = re.findall(r"overflow encountered in (\w+)", done.stderr)
    assert found[-1] == "exp", "an overflow that is none of a product is still shown"
    assert (len(found) == 1) == (blas == "accelerate"), done.stderr
