"""Check and measure the package on a GPU, in one command: ``python tests/tools/gpu.py``. Needs CuPy and a CUDA device.

1. Every component, and a GPT-2 of 124 million new weights: the device against the host, in float64 and float32.
2. tests/test_device.py with CuPy in the place of its stand-in.
3. Speed against PyTorch on the same GPU, if that is installed with CUDA: training steps and generation, by turns, the
   median of the ratios of neighbours. Both compute in float32 without TF32.

Exit code 0 if all figures agree and all tests pass, 1 if not or if there is no GPU.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minigpt2 import GPT2, AdamW, GPT2Config, flatten, unflatten
from minigpt2.backend import module_of
from minigpt2.reference import CASES, recorded, relative_error
from minigpt2.verification.pairs import run_case

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
DROPOUT_OFF = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
TESTS = Path(__file__).parents[1]


def run(repeats):
    """All three parts; returns whether everything agrees."""
    cupy = module_of("cupy")
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"{name}, CuPy {cupy.__version__}, CUDA runtime {cupy.cuda.runtime.runtimeGetVersion()}\n")
    agrees = agreement(cupy)
    print("\ntests/test_device.py with CuPy:", flush=True)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", TESTS / "test_device.py"],
        env=os.environ | {"MINIGPT2_DEVICE_TESTS": "cupy"}, cwd=TESTS.parent, check=False,
    )  # fmt: skip
    print(flush=True)
    race(cupy, repeats)
    return agrees and tests.returncode == 0


def agreement(cupy):
    """Print the largest difference of each component and of the whole model; whether all are within tolerance."""
    rows = [
        (name, dtype, component_error(cupy, name, dtype))
        for name in tqdm(CASES, "components", disable=None, leave=False)
        for dtype in TOLERANCE
        if "dropout" not in name  # whose random numbers are the device's own
    ]
    rows += [("124 million new weights", dtype, model_error(cupy, dtype)) for dtype in ("float64", "float32")]
    for name, dtype, (error, where) in rows:
        verdict = "ok" if error <= TOLERANCE[dtype] else "DIFFERS"
        print(f"{verdict:8} {name:32} {dtype}  {error:.1e} (at most {TOLERANCE[dtype]:g})  {where}")
    return all(error <= TOLERANCE[dtype] for _, dtype, (error, _) in rows)


def component_error(cupy, name, dtype):
    """(largest difference between device and host of output and gradients, where), relative to each array's size."""
    reference, found = recorded(name), []
    for xp in (cupy, np):
        inputs, dy = copied(reference["inputs"], xp, dtype), copied(reference["dy"], xp, dtype)
        y, _, gradients = run_case(name, inputs, dy)
        found.append(copied({"y": y, "gradients": gradients}, np, dtype))
    return relative_error(*found)


def model_error(cupy, dtype):
    """The same of the loss and of all gradients of GPT-2, new weights, 2 x 64 tokens."""
    ids, targets = np.random.default_rng(0).integers(0, 50257, (2, 2, 64))
    model, found = GPT2(GPT2Config.preset("gpt2"), dtype=dtype), []
    for device, xp in (("cupy", cupy), ("numpy", np)):
        loss, grads = model.to(device).loss_and_grads(ids, targets)
        found.append(copied({"loss": xp.asarray(loss), "gradients": grads}, np, dtype))
    return relative_error(*found)


def copied(tree, xp, dtype):
    """A tree of arrays as those of another module, floats in the dtype."""
    arrays = {}
    for name, leaf in flatten({"": tree}).items():
        array = leaf.get() if hasattr(leaf, "get") else np.asarray(leaf)
        arrays[name] = xp.asarray(array.astype(dtype) if array.dtype.kind == "f" else array)
    return unflatten(arrays)[""]


def race(cupy, repeats):
    """Print how many times as long as ours PyTorch takes."""
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"no race: {error}; pip install -e '.[reference]'")
        return
    if not torch.cuda.is_available():
        print("no race: this PyTorch has no CUDA")
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}; median of {repeats} turns each")
    for title, turns in (
        ("training step, 4 x 64 tokens", training_turns(torch, transformers, 4, 64)),
        ("training step, 1 x 512 tokens", training_turns(torch, transformers, 1, 512)),
        ("128 tokens after 16, greedy", generation_turns(torch, transformers)),
    ):
        seconds = {name: [] for name in turns}
        for repeat in tqdm(range(repeats + 2), title, disable=None, leave=False):  # the first two compile kernels
            for name, turn in turns.items():
                start = time.perf_counter()
                turn()
                torch.cuda.synchronize()
                cupy.cuda.Device().synchronize()
                if repeat >= 2:
                    seconds[name].append(time.perf_counter() - start)
        ours, theirs = seconds.values()
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        print(
            f"{title:32} minigpt2 {1e3 * statistics.median(ours):8.1f} ms   PyTorch "
            f"{1e3 * statistics.median(theirs):8.1f} ms   PyTorch takes {ratio:.2f} times as long"
        )


def training_turns(torch, transformers, B, T):
    """Loss, gradients and an AdamW step with clipping, of GPT-2 without dropout."""
    ids, targets = np.random.default_rng(0).integers(0, 50257, (2, B, T))
    model = GPT2(GPT2Config.preset("gpt2", **DROPOUT_OFF)).to("cupy")
    optimizer = AdamW(model.params)

    def ours():
        loss, grads = model.loss_and_grads(ids, targets)
        optimizer.step(grads, max_norm=1.0)
        return loss

    its_model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**DROPOUT_OFF)).cuda().train()
    its_optimizer = torch.optim.AdamW(its_model.parameters(), fused=True)

    def theirs():
        logits = its_model(torch.tensor(ids, device="cuda")).logits
        labels = torch.tensor(targets, device="cuda")
        loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))
        its_optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(its_model.parameters(), 1.0)
        its_optimizer.step()
        return loss.item()

    return {"minigpt2": ours, "PyTorch": theirs}


def generation_turns(torch, transformers):
    """Greedy continuation of one prompt with the key/value cache."""
    prompt = np.random.default_rng(0).integers(0, 50257, 16)
    model = GPT2(GPT2Config.preset("gpt2", **DROPOUT_OFF)).to("cupy")
    its_model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**DROPOUT_OFF)).cuda().eval()

    def theirs():
        ids = torch.tensor(prompt[None], device="cuda")
        its_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=128, min_new_tokens=128, do_sample=False,
            pad_token_id=50256,
        )  # fmt: skip

    return {"minigpt2": lambda: model.generate(prompt, 128), "PyTorch": theirs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="turns of each in the race (default 20)")
    try:
        sys.exit(0 if run(parser.parse_args().repeats) else 1)
    except ValueError as error:  # from module_of
        sys.exit(f"gpu.py: {error}")
