"""Draw the README's pictures of the three uses and of the speed: read.png, teach.png, verify.png and pace.png.

Each shows what the code does: formula, source and figure of a notebook; the report of a check; two wrong lines of a
GPT-2 in PyTorch and what the comparison in notebook 6 says of them; the table on the page about speed. A picture holds
what it was drawn from as text as well, so that a test can tell whether it still shows what is true. Needs the extra
[notebooks].

Run from the repository: python notebooks/pictures.py [read] [teach] [verify] [pace]
"""

import base64
import inspect
import io
import json
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from overview import BLUE, GREY, ORANGE

from minigpt2 import plain
from minigpt2.exercises import check

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
    axes = figure.add_axes((0.48, 1.0 / height, 0.51, 2.3 / height), anchor="N")  # beside short lines of code
    axes.imshow(plt.imread(io.BytesIO(base64.b64decode(facts["figure"]))), interpolation="lanczos")
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
    """Of notebook 6: two wrong lines of a GPT-2 in PyTorch, each below its class, and what the comparison prints."""
    notebook = json.loads((FOLDER / "en/6_find_the_bug.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    model = "\n".join("".join(cell["source"]) for cell in cells).split("\n")
    printed = ["".join(output["text"]) for cell in cells for output in cell["outputs"] if "text" in output]
    table = next(text for text in printed if text.startswith("tensor ")).split("\n")
    told = next(text for text in printed if "tensors differ" in text).rstrip().split("\n")
    first = next(n for n, row in enumerate(table) if "first divergence" in row)
    wrong = [next(line for line in model if part in line) for part in ("diagonal=1", "nn.GELU()")]
    classes = [[line for line in model[: model.index(line)] if line.startswith("class ")][-1] for line in wrong]
    code = [line for pair in zip(classes, wrong, strict=True) for line in (pair[0], "    ...", pair[1])]
    return {"code": code, "wrong": wrong, "report": [table[0], "...", *table[first - 2 : first + 2], "...", *told]}


def verify(facts):
    """A model, the command, and its answer; the wrong lines and the names of their mistakes stand out."""
    answer = ["$ minigpt2 compare ours.safetensors theirs.safetensors", *facts["report"]]
    height = LINE * (len(facts["code"]) + len(answer) + 4.9)
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    frame = LINE * (len(facts["code"]) + 0.5)
    axes.add_patch(plt.Rectangle((0.05, height - 1.55 * LINE - frame), WIDTH - 0.1, frame, fc="0.97", ec="0.85"))
    y = height - 0.35 * LINE
    for heading, lines in (
        ("Your GPT-2 runs, and its loss falls. Two lines are wrong.", facts["code"]),
        ("Compared with minigpt2: the first tensor that differs, and the name of each mistake.", answer),
    ):
        axes.text(0.1, y, heading, fontsize=10.5, va="top", color=GREY)
        y -= 1.6 * LINE
        for line in lines:
            wrong = line in facts["wrong"] or line.startswith("Diagnosis:")
            if wrong or "first divergence" in line:
                axes.add_patch(plt.Rectangle((0.06, y - 0.87 * LINE), WIDTH - 0.12, LINE, fc="#fdeadb", ec="none"))
            color = ORANGE if wrong or " differs" in line else BLUE if line.endswith(" ok") else "0.1"
            axes.text(0.15, y, line, fontsize=8.5, family="monospace", va="top", color=color,
                      weight="bold" if wrong else "normal")  # fmt: skip
            y -= LINE
        y -= 0.8 * LINE
    return figure


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
        draw(facts).savefig(FOLDER / f"{name}.png", dpi=200, metadata={"Software": None, "Description": kept})


if __name__ == "__main__":
    main(sys.argv[1:])
