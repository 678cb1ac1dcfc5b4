"""Small functions that hide whether arrays live on the host or on a device."""

import numpy as np

from minigpt2 import backend


def test_masked_mean():
    mean = backend.masked_mean(np.array([1, 2, np.inf, 4], "float32"), np.array([True, True, False, True]))
    assert mean == np.float32(7 / 3) and mean.dtype == "float32"
