"""Which instructions the libraries use: hold all of them to AVX2, and ask each what it runs.

A library reads its variable when it is imported, and may silently ignore it. So the variables are set before the
contestants start, and a process like theirs (this file, run as a script) tells what came of it.
"""

import json
import os
import re
import subprocess
import sys

AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
}  # fmt: skip
PINS = (  # what may be set already
    *AVX2, "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_L2_SIZE", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA"
)  # fmt: skip
WORDS = {  # in what the libraries call their kernels
    "avx512": ("avx512", "avx10", "x86v4", "skylakex", "cooperlake", "sapphirerapids"),
    "avx2": ("avx2", "x86v3", "haswell", "zen"),
}
TITLES = {"avx2": "AVX2", "avx512": "AVX-512", "": "other kernels"}


def level(name):
    """The newest instructions in what a library calls its kernels: "avx512", "avx2", or "" for any others."""
    letters = re.sub("[-_]", "", name.lower())
    return next((found for found, words in WORDS.items() if any(word in letters for word in words)), "")


# ------------------------------------------------------------------------------------------------- hold and ask


def hold(asked):
    """Set this process's environment, which the contestants inherit, and find out what they will run.

    asked: "auto", whatever the machine has, or "avx2"
    returns {"machine": its description, "asked", "level": of OpenBLAS, on which the bars depend, "line": what runs}.
    raises: RuntimeError where a library disobeys.
    """
    for pin in PINS:  # some systems pin OpenBLAS to an older processor's kernels; users do not
        os.environ.pop(pin, None)
    found = ask()
    if asked == "avx2":
        os.environ |= settings(found["newer features"])
        found = ask()
        check(found)
    runs = found["runs"]
    return {"machine": found["machine"], "asked": asked, "level": level(runs["OpenBLAS"] or ""),
            "line": line(asked, runs, found["intel"])}  # fmt: skip


def settings(newer_features):
    """The variables that hold every library to AVX2, given the features that NumPy can be told to leave off."""
    return AVX2 | ({"NPY_DISABLE_CPU_FEATURES": " ".join(newer_features)} if newer_features else {})


def check(found):
    """Raise RuntimeError unless all that could be read is AVX2."""
    wrong = {library: ran for library, ran in found["runs"].items() if ran is not None and level(ran) != "avx2"}
    if not found["intel"]:
        wrong.pop("MKL", None)  # heeds its variable on Intel's processors only, as documented; ``line`` says so
    if wrong:
        raise RuntimeError("held to AVX2, but " + "; ".join(f"{library} runs {ran}" for library, ran in wrong.items()))


def line(asked, runs, intel):
    """What runs, for the head of the report."""
    text = "; ".join(f"{library} {ran or 'does not tell'}" for library, ran in runs.items())
    levels = {level(ran) for ran in runs.values() if ran}
    if asked == "avx2":
        disobeyed = not intel and level(runs["MKL"] or "avx2") != "avx2"
        note = " MKL ignores MKL_ENABLE_INSTRUCTIONS on this processor." if disobeyed else ""
    else:
        note = " That is AVX2 already: --kernels avx2 would run the same." if levels == {"avx2"} else ""
    return f"{asked}: {text}.{note}"


def ask():
    """What ``tell`` finds in a new process, with MKL and oneDNN, whose kernels can be read only from what they log."""
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True,
        env=os.environ | {"MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"},
    )  # fmt: skip
    answers = [text for text in done.stdout.splitlines() if text.startswith("{")]
    if done.returncode or not answers:
        raise RuntimeError(f"cannot find out which kernels run:\n{done.stderr}")
    found = json.loads(answers[-1])
    found["runs"] |= read_logs(done.stdout)
    return found


def read_logs(text):
    """{"MKL", "oneDNN": the instructions that they say they use, None where they say nothing}."""
    mkl = re.search(r"^MKL_VERBOSE .* architecture (.*), \w+ [\d.]+GHz", text, re.MULTILINE)
    names = re.findall(r"\(Intel\(R\) ([^)]+)\)", mkl[1]) if mkl else []  # "Intel(R) ... 2 (Intel(R) AVX2)"
    onednn = re.search(r"^onednn_verbose.*,cpu,isa:(.*)$", text, re.MULTILINE)
    return {"MKL": names[0] if names else mkl and mkl[1], "oneDNN": onednn and onednn[1]}


# ------------------------------------------------------------------------------------------------- in the child


def tell():
    """Import and use the libraries in this process; what they run, as far as Python can ask."""
    import machine
    from numpy._core import _multiarray_umath as core
    from threadpoolctl import threadpool_info

    import minigpt2  # noqa: F401  (it may have a say in BLAS's threads)

    names = [pool.get("architecture") for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    dispatched = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    found = {
        "machine": machine.description(),
        "intel": "GenuineIntel" in machine.cpuinfo("vendor_id"),
        "newer features": [name for name in dispatched if level(name) == "avx512"],
        "runs": {"OpenBLAS": names[0] if names else None, "NumPy": " ".join([*core.__cpu_baseline__, *dispatched])},
    }
    try:
        import torch
    except ImportError:
        return found
    found["runs"]["torch"] = torch.backends.cpu.get_cpu_capability()
    _ = torch.ones(64, 64) @ torch.ones(64, 64)  # MKL logs it
    if torch.backends.mkldnn.is_available():
        torch.relu(torch.ones(2, 2).to_mkldnn())  # and oneDNN this
    return found


if __name__ == "__main__":
    print(json.dumps(tell()), flush=True)
