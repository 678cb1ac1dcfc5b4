"""Write torch's results to the .npz files beside this one: ``python -m minigpt2.reference.record``."""

import numpy as np

from minigpt2.parameters import flatten
from minigpt2.reference import FOLDER, RECORDS, calculate
from minigpt2.storage.files import atomic_write

if __name__ == "__main__":
    for name in RECORDS:
        with atomic_write(FOLDER / f"{name}.npz") as file:
            np.savez_compressed(file, **flatten(calculate(name)))
        print(f"{name}: {(FOLDER / f'{name}.npz').stat().st_size} bytes")
