"""What a benchmark came to: a table in Markdown and a bar chart."""

import statistics

import machine
import numpy as np
from race import median_seconds, ratios

COLORS = {
    "transformers": "#0b559f", "transformers generate": "#7fb2df", "transformers, fused AdamW": "#41a3a3",
    "nanoGPT": "#d95f02", "tiktoken": "#7570b3", "encoder.py": "0.6", "ordinary text": "0.8",
}  # fmt: skip


def share_of_limit(workload, turns):
    """The time at the machine's limit over ours, turn by turn; the median."""
    return statistics.median(
        workload.limit(*limit["value"]) / ours["seconds"]
        for limit, ours in zip(turns["machine"], turns["minigpt2"], strict=True)
    )


def ratio(workload, turns, name):
    """The median ratio and its spread, and whether it clears the bar."""
    found = ratios(turns, name)
    text = f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
    if name in workload.bars:
        verdict = "ok" if statistics.median(found) >= workload.bars[name] else "BELOW"
        text += f", bar {workload.bars[name]:.3g}: {verdict}"
    return text


def row(workload, turns):
    """One line for someone who is waiting."""
    return f"{workload.title}: " + "; ".join(
        f"{name} {ratio(workload, turns, name)}" for name in workload.contestants[1:]
    )


def markdown(workloads, results, repeats):
    """The whole result: a table with a line per workload and contestant, one of the cost against the size."""
    lines = [
        f"Machine: {machine.description()}.",
        "",
        f"Their time over ours, both on all cores: median of {repeats} turns (lowest to highest). Above 1, minigpt2 is"
        " faster. Memory: their peak over ours. Limit: the time at this machine's limit over ours.",
        "",
        "| workload | against | time | memory | share of limit |",
        "|---|---|---|---|---|",
    ]
    for name, turns in results.items():
        workload = workloads[name]
        if workload.series:
            continue
        limit = f"{share_of_limit(workload, turns):.0%}" if workload.limit else ""
        for contestant in workload.contestants[1:]:
            memory = turns[contestant][-1]["memory"] / turns["minigpt2"][-1]["memory"]
            lines.append(
                f"| {workload.title} | {contestant} | {ratio(workload, turns, contestant)} | {memory:.2f} | {limit} |"
            )
    series = scaling(workloads, results)
    if series:
        lines += ["", "Seconds per token grow with size^exponent:", "", "| size | of | exponent | over which range |",
                  "|---|---|---|---|"]  # fmt: skip
    for (title, contestant), points in series.items():
        sizes, _ = zip(*points, strict=True)
        lines.append(f"| {title} | {contestant} | {exponent(points):.2f} | {sizes[0]:,} to {sizes[-1]:,} |")
    peaks = [turn["value"] for turns in results.values() for turn in turns["machine"]]
    operations, bandwidth = (statistics.median(column) / 1e9 for column in zip(*peaks, strict=True))
    lines += ["", f"The machine in this run: {operations:.0f} GFLOP/s in a large product, {bandwidth:.0f} GB/s in a"
              " large read, medians."]  # fmt: skip
    return "\n".join(lines) + "\n"


def scaling(workloads, results):
    """{(series, contestant): [(size, seconds per token)]} of the series of which two or more points were raced."""
    series = {}
    for name, turns in results.items():
        workload = workloads[name]
        for contestant in workload.contestants if workload.series else ():
            point = workload.size, median_seconds(turns, contestant) / workload.amount
            series.setdefault((workload.series, contestant), []).append(point)
    return {key: points for key, points in series.items() if len(points) > 1}


def exponent(points):
    """The slope of the straight line through the points on two logarithmic axes."""
    sizes, seconds = np.log(points).T
    return np.polyfit(sizes, seconds, 1)[0]


def scaling_chart(workloads, results, path):
    """Time per token over size, in units of our first, a panel per series, with the exponents in the legend."""
    from matplotlib.figure import Figure

    series = scaling(workloads, results)
    titles = list(dict.fromkeys(title for title, _ in series))
    if not titles:
        return
    figure = Figure(figsize=(4.2 * len(titles), 3.4), dpi=100, layout="constrained")
    for axes, title in zip(figure.subplots(1, len(titles), squeeze=False)[0], titles, strict=True):
        for (its_title, contestant), points in series.items():
            if its_title == title:
                style = {"color": COLORS.get(contestant, "black"), "marker": "o" if contestant == "minigpt2" else "s"}
                (_, unit), *_ = series[title, "minigpt2"]
                sizes, seconds = np.array(points).T
                axes.plot(sizes, seconds / unit, label=f"{contestant}, exponent {exponent(points):.2f}", **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        sizes = [size for size, _ in series[title, "minigpt2"]]
        shown = sizes if len(sizes) < 6 else sizes[::2]
        axes.set_xticks(shown, [f"{size / 1e6:,.0f} M" if size > 1e6 else f"{size:,.0f}" for size in shown])
        axes.yaxis.set_major_formatter(lambda time, _: f"{time:g}")
        axes.set(xlabel=title, ylabel="time per token, minigpt2's first = 1")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def chart(workloads, results, path):
    """Bars of their time over ours, grouped by workload."""
    from matplotlib.figure import Figure

    results = {name: turns for name, turns in results.items() if not workloads[name].series}
    bars = [(name, contestant) for name in results for contestant in workloads[name].contestants[1:]]
    figure = Figure(figsize=(8, 1.2 + 0.26 * len(bars) + 0.12 * len(results)), dpi=100, layout="constrained")
    axes = figure.subplots()
    y, ticks, labelled = 0.0, {}, set()
    for name, turns in results.items():
        top = y
        for contestant in workloads[name].contestants[1:]:
            value = statistics.median(ratios(turns, contestant))
            label = None if contestant in labelled else contestant
            labelled.add(contestant)
            axes.barh(y, value, 0.85, color=COLORS[contestant], label=label)
            axes.annotate(f"{value:.2g}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
            y += 1
        ticks[(top + y - 1) / 2] = workloads[name].title
        y += 0.5
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
    axes.set_yticks([*ticks], ticks.values())
    axes.set_ylim(y, -1)
    axes.margins(x=0.08)
    axes.set_xlabel("their time over the time of minigpt2; right of 1, minigpt2 is faster")
    axes.set_title("minigpt2 against others on the same CPU")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)
