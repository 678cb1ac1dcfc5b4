"""Draw overview.png, the picture in the README: the model as the files that compute it, and a map of its attention.

Run from the repository: python notebooks/overview.py
"""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch

import minigpt2

BLUE, ORANGE, GREY = "#0b559f", "#c8500a", "0.45"
PROMPT = "ROMEO:\nWhat light is this, that breaks upon my"

# (y, computation, file, shape of its output)
STEPS = [
    (0.3, "wte[ids]", "embedding.py", "(B, T, C)"),
    (1.3, "+ wpe[0 ... T-1]", "position.py", "(B, T, C)"),
    (2.75, "layer_norm", "layer_norm.py", "(B, T, C)"),
    (3.75, "attention", "attention.py", "(B, T, C)"),
    (5.1, "layer_norm", "layer_norm.py", "(B, T, C)"),
    (6.1, "feed_forward", "feed_forward.py", "(B, T, C)"),
    (7.75, "layer_norm", "layer_norm.py", "(B, T, C)"),
    (8.75, "x wte$^T$", "embedding.py", "(B, T, V)"),
    (9.75, "cross_entropy", "loss.py", "one number"),
]


def draw_model(axes):
    """The stack from token ids up to the loss, with the backward pass beside it."""
    axes.set(xlim=(-2.2, 8.2), ylim=(-0.9, 11.5))
    axes.axis("off")
    axes.add_patch(FancyBboxPatch((0.35, 2.35), 7.3, 4.85, boxstyle="round,pad=0.1", fc="0.95", ec="0.75"))
    axes.text(7.6, 7.06, "block, n_layer times", ha="right", va="center", fontsize=8, color=GREY)
    for y, what, file, shape in STEPS:
        axes.add_patch(FancyBboxPatch((1.2, y), 2.6, 0.62, boxstyle="round,pad=0.06", fc="white", ec=BLUE, lw=1.2))
        axes.text(2.5, y + 0.31, what, ha="center", va="center", fontsize=9)
        axes.text(4.15, y + 0.31, file, ha="left", va="center", fontsize=8, family="monospace")
        axes.text(7.55, y + 0.31, shape, ha="right", va="center", fontsize=8, color=GREY)
    for (low, *_), (high, *_) in pairwise(STEPS):
        axes.annotate("", (2.5, high - 0.07), (2.5, low + 0.69), arrowprops={"arrowstyle": "->", "color": BLUE})
    for bottom, top in ((2.3, 4.74), (4.74, 7.02)):  # the residual stream goes round each sub-layer
        axes.plot([2.5, 0.75, 0.75], [bottom, bottom, top], color=BLUE, lw=1)
        axes.annotate("", (2.44, top), (0.75, top), arrowprops={"arrowstyle": "->", "color": BLUE})
        axes.text(2.5, top, "+", ha="center", va="center", color=BLUE, fontsize=11, fontweight="bold",
                  bbox={"boxstyle": "circle,pad=0.08", "fc": "white", "ec": BLUE})  # fmt: skip
    axes.annotate("", (-1.3, 10.3), (-1.3, 0.3), arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 2})
    axes.annotate("", (-0.8, 0.3), (-0.8, 10.3), arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 2})
    for x, text, color in (
        (-1.7, "y, cache = ..._forward(x, ...)", BLUE),
        (-0.35, "dx, ... = ..._backward(dy, cache)", ORANGE),
    ):
        axes.text(x, 5.3, text, rotation=90, ha="center", va="center", fontsize=8, color=color, family="monospace")
    axes.text(2.5, -0.35, "ids (B, T)", ha="center", va="center", fontsize=9)
    axes.annotate("", (2.5, 0.23), (2.5, -0.12), arrowprops={"arrowstyle": "->", "color": BLUE})
    axes.set_title("GPT-2, and the file of each line", fontsize=11, loc="left")


def draw_attention(axes, model, tokenizer):
    """The head that looks least at the first token and at itself, straight out of the cache."""
    ids = tokenizer.encode(PROMPT)
    _, cache = model.forward([ids])
    maps = {
        (layer, head): probs
        for layer, block in enumerate(cache["h"])
        for head, probs in enumerate(block["attn"]["probs"][0])
    }
    (layer, head), probs = min(maps.items(), key=lambda item: item[1][:, 0].sum() + np.trace(item[1]))
    labels = [tokenizer.decode([i]).replace("\n", "\\n").replace(" ", "_") for i in ids]
    image = axes.imshow(probs, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(ids)), labels, rotation=90, fontsize=7, family="monospace")
    axes.set_yticks(range(len(ids)), labels, fontsize=7, family="monospace")
    axes.set_xlabel("attended token (_ is a space)", fontsize=8)
    axes.set_ylabel("token that attends", fontsize=8)
    axes.set_title(f'cache["h"][{layer}]["attn"]["probs"][0, {head}]', fontsize=9, family="monospace", loc="left")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("attention probability", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def main():
    model = minigpt2.GPT2.from_pretrained("shakespeare")
    tokenizer = minigpt2.Tokenizer.from_pretrained("shakespeare")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 6), dpi=100, layout="constrained", width_ratios=[1.1, 1])
    draw_model(left)
    draw_attention(right, model, tokenizer)
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
