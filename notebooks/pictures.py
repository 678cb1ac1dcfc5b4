"""Draw the README's pictures of the three uses and of the speed: read.png, teach.png, verify.png and pace.png.

Each shows what the code does: formula, source and figure of a notebook; the report of a check; a comparison with a
PyTorch GPT-2 in which a mistake is planted; the table on the page about speed. A picture holds what it was drawn from
as text as well, so that a test can tell whether it still shows what is true. Needs the extras [notebooks,reference].

Run from the repository: python notebooks/pictures.py [read] [teach] [verify] [pace]
"""

import base64
import inspect
import io
import json
import re
import sys
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from overview import BLUE, GREY, ORANGE, PROMPT

import minigpt2
from minigpt2 import plain
from minigpt2.exercises import check
from minigpt2.verification.compare import compare
from minigpt2.verification.rows import RTOL

FOLDER = Path(__file__).resolve().parent
WIDTH = 8.6  # inches, so that letters have their usual size in a column of text
LINE = 0.185  # inches from one line of code to the next
MATHTEXT = {r"\Bigl(": r"\left(", r"\Bigr)": r"\right)", r"\frac1C": r"\frac{1}{C}"}  # what matplotlib reads of TeX


def read_facts():
    """Of notebook 2.5.5: the result of the derivation, its source, and the figure of the last experiment."""
    notebook = json.loads((FOLDER / "en/2_5_5_residual_and_layer_norm.ipynb").read_text(encoding="utf-8"))
    prose = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    formula = re.search(r"\*\*Step 6: .*?\$\$(.*?)\n\s*(=.*?)\.\$\$", prose, flags=re.S).groups()
    outputs = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", ()) if "data" in output]
    *_, figure = (data["image/png"] for data in outputs if "image/png" in data)
    return {"formula": [*formula], "source": inspect.getsource(plain.layer_norm_backward), "figure": figure}


def read(facts):
    """A notebook in a nutshell: a gradient derived, written down, and an experiment."""
    height = 3.62
    figure = plt.figure(figsize=(WIDTH, height))
    for x, y, text in (
        (0.015, height - 0.2, "The gradient, derived by hand ..."),
        (0.015, 1.53, "... the same in NumPy ..."),
        (0.49, height - 0.2, "... and an experiment."),
    ):
        figure.text(x, y / height, text, fontsize=10.5, va="center", color=GREY)
    for x, y, formula in zip((0.03, 0.075), (2.95, 2.3), facts["formula"], strict=True):
        for tex, ours in MATHTEXT.items():
            formula = formula.replace(tex, ours)
        figure.text(x, y / height, f"${formula}$", fontsize=12.5, va="center")
    code(figure, facts["source"].rstrip().split("\n"), 1.3)
    axes = figure.add_axes((0.48, 1.4 / height, 0.51, 1.82 / height))
    axes.imshow(plt.imread(io.BytesIO(base64.b64decode(facts["figure"]))), interpolation="lanczos", aspect="auto")
    axes.axis("off")
    return figure


def softmax_backward(dprobs, probs):
    return dprobs * probs * (1 - probs)


def teach_facts():
    """A student's function with a mistake that many make, and the report of its check."""
    return {"source": inspect.getsource(softmax_backward), "report": str(check("softmax_backward", softmax_backward))}


def teach(facts):
    """A cell of a notebook, and what it prints."""
    cell = [*facts["source"].rstrip().split("\n"), "", 'print(check("softmax_backward", softmax_backward))']
    report = facts["report"].split("\n")
    height = LINE * (len(cell) + len(report) + 2.2)
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    frame = LINE * (len(cell) + 0.9)
    axes.add_patch(plt.Rectangle((0.05, height - 0.05 - frame), WIDTH - 0.1, frame, fc="0.96", ec="0.8"))
    code(figure, cell, height - 0.05 - LINE * 0.6)
    code(figure, report, height - 0.05 - frame - LINE * 0.6)
    return figure


def code(figure, lines, top):
    """Lines of code or of a report, the first ``top`` inches from the bottom; verdicts and the hint stand out."""
    hint = False
    for i, line in enumerate(lines):
        hint = line.startswith("What it looks like") or (hint and line != "")
        color = ORANGE if line.startswith("  WRONG") else BLUE if line.startswith("  ok") else "0.1"
        style = {"family": "monospace", "fontsize": 8.5, "va": "top", "color": color}
        y = (top - LINE * i) / figure.get_figheight()
        figure.text(0.018, y, line, weight="bold" if hint else "normal", **style)


def verify_facts():
    """What `minigpt2 compare` finds in a PyTorch GPT-2 whose last block has the exact GELU, not its tanh form."""
    sys.path.insert(0, str(FOLDER.parent / "tests"))
    import torch
    import torch_gpt2

    model = minigpt2.GPT2.from_pretrained("shakespeare")
    ids = np.array([minigpt2.Tokenizer.from_pretrained("shakespeare").encode(PROMPT)])
    ours = minigpt2.trace(model, ids, backward=True)
    report = compare(ours, torch_gpt2.trace(model, ids, ours["targets"], "erf_gelu", torch.float32))
    rows = [(row.name, row.relative, row.verdict) for row in report.rows if row.name not in ("ids", "targets")]
    return {"rows": rows, "first": report.first.name, "diagnosis": report.diagnosis}


def verify(facts):
    """The relative difference of each tensor, in the order of computation."""
    names, errors, verdicts = zip(*facts["rows"], strict=True)
    low, first, loss = 3e-8, names.index(facts["first"]), names.index("loss")
    figure, axes = plt.subplots(figsize=(WIDTH, 3.3), layout="constrained")
    axes.set_yscale("log")
    axes.set(ylim=(low, 0.15), xlim=(-1, len(names)), xticks=[], ylabel="difference / size of the tensor")
    axes.set_title("A PyTorch GPT-2 against minigpt2, in the order of computation", loc="left", fontsize=10.5)
    for x, (error, verdict) in enumerate(zip(errors, verdicts, strict=True)):
        axes.bar(x, max(error - low, 0), 0.8, bottom=low, color=BLUE if verdict == "ok" else ORANGE)
    axes.axhline(RTOL["float32"], color="0.3", lw=0.8, ls="--")
    axes.text(0, RTOL["float32"] * 1.3, "tolerance in float32", fontsize=8.5, color="0.3")
    arrow = {"arrowstyle": "->", "color": "0.2"}
    told = f"first divergence: {facts['first']}\n{facts['diagnosis']}"
    axes.annotate(told, (first, errors[first] * 1.1), (22, 8e-3), fontsize=9, va="bottom",
                  arrowprops=arrow | {"relpos": (0.25, 0)})  # fmt: skip
    axes.annotate("the loss alone\nwould not have told", (loss - 0.3, errors[loss]), (22, 3e-6), fontsize=8.5,
                  va="center", arrowprops=arrow)  # fmt: skip
    x = 0
    for group, members in groupby(names, part):
        n = len([*members])
        axes.plot([x - 0.1, x + n - 0.9], [0.75 * low] * 2, color="0.6", lw=1.5, clip_on=False, solid_capstyle="butt")
        if n > 6:
            axes.text(x + n / 2 - 0.5, 0.62 * low, group, ha="center", va="top", fontsize=8.5)
        x += n
    axes.text(loss / 2, 0.3 * low, "activations", ha="center", va="top", fontsize=9)
    axes.text((loss + len(names)) / 2, 0.3 * low, "gradients", ha="center", va="top", fontsize=9)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def part(name):
    """The block that a tensor belongs to, or "before" or "after" all of them; gradients apart."""
    grad, block = re.match(r"(grad\.)?(h\.\d+)?", name).groups()
    outside = "before" if re.search(r"embd|wte|wpe", name) else "after"
    return f"{block or outside}{' ' if grad else ''}"


def pace_facts():
    """Of the page about speed: each workload that was raced with both kernels, against the fastest of the others."""
    page = (FOLDER / "site/speed.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (\d.*?\)) \| (\d.*?\)) \|", page, flags=re.M)
    races = {}
    for workload, contestant, *figures in rows:
        if not contestant.endswith(" itself"):
            both = [[float(figure) for figure in re.findall(r"[\d.]+", text)] for text in figures]
            races.setdefault(workload, []).append((contestant, *both))
    return {workload: min(against, key=lambda race: race[1][0]) for workload, against in races.items()}


def pace(facts):
    """The others' time over ours: the median as a dot, the lowest and the highest as a line."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.27 * len(facts)), layout="constrained")
    axes.axvspan(1, 4, color="0.95", lw=0)
    axes.axvline(1, color="0.3", lw=0.8)
    for y, (contestant, *both) in enumerate(facts.values()):
        for shift, (median, low, high), fill in zip((-0.16, 0.16), both, (BLUE, "white"), strict=True):
            axes.plot([low, high], [y + shift] * 2, color=BLUE, lw=1.2, zorder=2)
            axes.plot(median, y + shift, "o", ms=5.5, mfc=fill, mec=BLUE, mew=1.2, zorder=3)
        axes.text(2.58, y, contestant, va="center", fontsize=8.5, color=GREY)
    axes.set_xscale("log")
    axes.set(xlim=(0.24, 2.5), ylim=(len(facts) - 0.4, -0.6))
    axes.set_xlabel("time of the fastest of the others / time of minigpt2")
    ticks = 0.25, 0.5, 0.75, 1, 1.5, 2
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(facts)), facts, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_title("minigpt2 is faster to the right of 1", loc="left", fontsize=10.5)
    for fill, kernels in ((BLUE, "AVX-512"), ("white", "AVX2")):
        axes.plot([], [], "o", ms=5.5, mfc=fill, mec=BLUE, mew=1.2, label=kernels)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


PICTURES = {
    "read": (read_facts, read), "teach": (teach_facts, teach), "verify": (verify_facts, verify),
    "pace": (pace_facts, pace),
}  # fmt: skip


def main(names):
    for name in names or PICTURES:
        find, draw = PICTURES[name]
        facts = find()
        kept = json.dumps({key: value for key, value in facts.items() if key != "figure"})
        draw(facts).savefig(FOLDER / f"{name}.png", dpi=150, metadata={"Software": None, "Description": kept})


if __name__ == "__main__":
    main(sys.argv[1:])
