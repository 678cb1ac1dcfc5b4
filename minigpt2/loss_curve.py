"""The picture of a run: its losses over the optimizer's steps."""

from pathlib import Path

import numpy as np

from minigpt2.run_folder import read_metrics
from minigpt2.storage.files import atomic_write


def plot_metrics(folder):
    """Draw a run's losses into loss.png; returns its path, or None when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    metrics = read_metrics(folder)
    training = [(line["step"], _number(line["loss"])) for line in metrics if "loss" in line]
    validation = [(line["step"], _number(line["val_loss"])) for line in metrics if "val_loss" in line]
    corpora = [(line["step"], list(line["corpora"].values())) for line in metrics if "corpora" in line]
    names = next((list(line["corpora"]) for line in reversed(metrics) if "corpora" in line), [])  # those of today
    figure = Figure(figsize=(12 if len(names) > 1 else 7, 4), dpi=100, layout="constrained")
    axes, *rest = np.atleast_1d(figure.subplots(1, 2 if len(names) > 1 else 1))
    axes.plot(*zip(*training, strict=True), color="0.7", linewidth=0.8, label="training (one batch)")
    axes.plot(*zip(*validation, strict=True), color="#0b559f", marker="o", markersize=3, label="validation (all of it)")
    if finite := [point for point in validation if np.isfinite(point[1])]:
        best = min(finite, key=lambda point: point[1])
        axes.annotate(
            f"best {best[1]:.3f} at step {best[0]}", best, xytext=(0, 12), textcoords="offset points", ha="right"
        )
    axes.set(xlabel="optimizer steps", ylabel="loss in nats per token", title="Training and validation loss")
    for panel in rest:
        for number, name in enumerate(names):
            losses = [(step, _number(losses[number])) for step, losses in corpora]
            panel.plot(*zip(*losses, strict=True), marker="o", markersize=3, label=Path(name).name)
        panel.set(
            xlabel="optimizer steps", ylabel="nats per character (or hidden token)", title="Validation loss by corpus"
        )
    for each in (axes, *rest):
        each.spines[["top", "right"]].set_visible(False)
        each.legend(frameon=False)
    path = Path(folder) / "loss.png"
    with atomic_write(path) as file:
        figure.savefig(file, format="png")
    return path


def _number(loss):
    """A loss as a number; one that was not finite is null in the file, and leaves a gap in its line."""
    return np.nan if loss is None else loss
