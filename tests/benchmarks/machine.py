"""What the machine can do at best: the speed of a large product, and of reading memory."""

import os
import platform
import time

import numpy as np

SIDE = 2048  # of the matrices that are multiplied
ROWS = 1 << 16  # of 4,096 float32 numbers each that are read: a gibibyte


def setup(_contestant, _folder):
    """A turn that returns [float32 operations per second, bytes read per second], the best of a few tries."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    memory, vector = np.ones((ROWS, 4096), np.float32), np.ones(4096, np.float32)

    def turn():
        return [2 * SIDE**3 / _best(lambda: a @ b), memory.nbytes / _best(lambda: memory @ vector)]

    return turn


def _best(work, tries=5):
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def description():
    """A line about the processor, the libraries and the kernels that BLAS chose for this processor."""
    from threadpoolctl import threadpool_info

    blas = [f"{p['internal_api']} {p['version']} ({p.get('architecture')}, {p['num_threads']} threads)"
            for p in threadpool_info() if p["user_api"] == "blas"]  # fmt: skip
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}", *blas]
    for module in ("torch", "transformers", "tiktoken"):
        try:
            versions.append(f"{module} {__import__('importlib.metadata').metadata.version(module)}")
        except ImportError:
            versions.append(f"no {module}")
    processor = cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; {', '.join(versions)}"


def cpuinfo(key):
    """What Linux says of the first processor; "" where it says nothing."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":")[1].strip() for line in file if line.startswith(key)), "")
    except OSError:
        return ""
