"""What the benchmarks came to: tables in Markdown and charts, of one run or of several side by side.

A run is what results.json holds: what ``kernels.hold`` returns, and "repeats" and "races": {name: what ``race``
returns}. Runs side by side differ in their kernels.
"""

import statistics

import numpy as np
from bars import TWO_AT_ONCE, bar
from kernels import TITLES
from race import NOISY, is_noisy, median_seconds, ratios, twice

COLORS = {
    "transformers": "#0b559f", "transformers generate": "#7fb2df", "transformers, fused AdamW": "#41a3a3",
    "nanoGPT": "#d95f02", "tiktoken": "#7570b3", "encoder.py": "0.6", "ordinary text": "0.8", "plain.py": "0.3",
}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ figures


def spread(found):
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def ratio(turns, name, least=None):
    """The median ratio and its spread, and whether it clears the bar."""
    found = ratios(turns, name)
    if least is None:
        return spread(found)
    return f"{spread(found)}, bar {least:.3g}: {'ok' if statistics.median(found) >= least else 'BELOW'}"


def at_once(turns, name, most=None):
    """The time of two at once over that of one alone, and whether it stays within the bar."""
    found = ratios(turns, twice(name), over=name)
    if most is None:
        return spread(found)
    return f"{spread(found)}, at most {most:.3g}: {'ok' if statistics.median(found) <= most else 'ABOVE'}"


def figure_of(name, workload, race, level, contestant):
    """The table's figure of a contestant, with kernels of this level."""
    if workload.at_once > 1:
        return at_once(race["turns"], contestant, TWO_AT_ONCE if contestant == "minigpt2" else None)
    return ratio(race["turns"], contestant, bar(name, contestant, level))


def shown(workload):
    """The contestants with a figure of their own: in a race those that are compared with us."""
    return workload.contestants if workload.at_once > 1 else workload.contestants[1:]


def repeated(_workload, race, _contestant):
    """How many rounds were run again, and whether that was enough."""
    rounds = [dict(zip(race["turns"], answers, strict=True)) for answers in zip(*race["turns"].values(), strict=True)]
    return f"{race['repeated']}, still noisy" if is_noisy(rounds) else str(race["repeated"])


def memory(_workload, race, contestant):
    """Their peak over ours."""
    theirs, ours = (race["turns"][name][-1]["memory"] for name in (contestant, "minigpt2"))
    return f"{theirs / ours:.2f}"


def share_of_limit(workload, race, _contestant=None):
    """The time at the machine's limit over ours, turn by turn; the median."""
    if not workload.limit:
        return ""
    turns = zip(race["turns"]["machine"], race["turns"]["minigpt2"], strict=True)
    return f"{statistics.median(workload.limit(*limit['value']) / ours['seconds'] for limit, ours in turns):.0%}"


# ------------------------------------------------------------------------------------------------------- tables


def row(name, workload, race, level):
    """One line for someone who is waiting."""
    figures = (f"{who} {figure_of(name, workload, race, level, who)}" for who in shown(workload))
    return f"{workload.title}: {'; '.join(figures)}"


def line(cells):
    return f"| {' | '.join(cells)} |"


def table(workloads, runs, names, second, columns):
    """A line per workload and contestant: a time for each run, and columns {title: function} that runs share."""
    times = ["time"] if len(runs) == 1 else [f"{TITLES[run['level']]}: time" for run in runs]
    lines = [line(["workload", second, *times, *columns])]
    lines.append("|" + "---|" * (2 + len(times) + len(columns)))
    for name in names:
        workload, races = workloads[name], [run["races"].get(name) for run in runs]
        for who in shown(workload):
            figures = [race and figure_of(name, workload, race, run["level"], who)
                       for run, race in zip(runs, races, strict=True)]  # fmt: skip
            others = [
                " / ".join(dict.fromkeys(column(workload, race, who) for race in races if race))  # once where alike
                for column in columns.values()
            ]
            lines.append(line([workload.title, who, *(figure or "" for figure in figures), *others]))
    return lines


def names_of(workloads, runs, wanted):
    """The workloads of all runs for which ``wanted`` holds; those of the cost against the size are for themselves."""
    names = dict.fromkeys(name for run in runs for name in run["races"] if not workloads[name].series)
    return [name for name in names if wanted(workloads[name])]


def markdown(workloads, runs):
    """The whole result, with the cost against the size of each run."""
    lines = []
    for run in runs:
        lines += [f"Machine: {run['machine']}.", "", f"Kernels, {run['line']}", ""]
    repeats = " and ".join(dict.fromkeys(str(run["repeats"]) for run in runs))
    if names := names_of(workloads, runs, lambda workload: workload.at_once == 1):
        lines += [
            f"Their time over ours, both on all cores: median of {repeats} turns (lowest to highest). Above 1, minigpt2"
            " is faster. Repeated: rounds run again because the lowest and the highest time of a contestant differed by"
            f" more than a factor {NOISY:g}. Memory: their peak over ours. Limit: the time at this machine's limit over"
            " ours.",
            "",
            *table(workloads, runs, names, "against",
                   {"repeated": repeated, "memory": memory, "share of limit": share_of_limit}),
            "",
        ]  # fmt: skip
    if names := names_of(workloads, runs, lambda workload: workload.at_once > 1):
        lines += [
            "Each against itself alone: the time until two at once are done over that of one,"
            f" median of {repeats} turns (lowest to highest).",
            "",
            *table(workloads, runs, names, "of", {"repeated": repeated}),
            "",
        ]
    for run in runs:
        lines += scaling_table(workloads, run)
        peaks = [turn["value"] for race in run["races"].values() for turn in race["turns"]["machine"]]
        operations, bandwidth = (statistics.median(column) / 1e9 for column in zip(*peaks, strict=True))
        kernels = "" if len(runs) == 1 else f" with {TITLES[run['level']]}"
        lines += [f"The machine in this run{kernels}: {operations:.0f} GFLOP/s in a large product, {bandwidth:.0f} GB/s"
                  " in a large read, medians."]  # fmt: skip
    return "\n".join(lines) + "\n"


def scaling_table(workloads, run):
    lines = [
        line([title, contestant, f"{exponent(points):.2f}", f"{points[0][0]:,} to {points[-1][0]:,}"])
        for (title, contestant), points in scaling(workloads, run).items()
    ]
    if not lines:
        return []
    return [
        f"Seconds per token grow with size^exponent ({TITLES[run['level']]}):", "",
        "| size | of | exponent | over which range |", "|---|---|---|---|", *lines, "",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------- charts


def scaling(workloads, run):
    """{(series, contestant): [(size, seconds per token)]} of the series of which two or more points were raced."""
    series = {}
    for name, race in run["races"].items():
        workload = workloads[name]
        for contestant in workload.contestants if workload.series else ():
            point = workload.size, median_seconds(race["turns"], contestant) / workload.amount
            series.setdefault((workload.series, contestant), []).append(point)
    return {key: points for key, points in series.items() if len(points) > 1}


def exponent(points):
    """The slope of the straight line through the points on two logarithmic axes."""
    sizes, seconds = np.log(points).T
    return np.polyfit(sizes, seconds, 1)[0]


def scaling_chart(workloads, run, path):
    """Time per token over size, in units of our first, a panel per series, with the exponents in the legend."""
    from matplotlib.figure import Figure

    series = scaling(workloads, run)
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


def chart(workloads, runs, path):
    """Bars of their time over ours, grouped by workload; runs side by side, those but the first hatched."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = names_of(workloads, runs, lambda workload: workload.at_once == 1)
    bars = sum(len(shown(workloads[name])) for name in names) * len(runs)
    if not bars:
        return
    row_height = 0.26 if len(runs) == 1 else 0.18
    figure = Figure(figsize=(8, 1.2 + row_height * bars + 0.12 * len(names)), dpi=100, layout="constrained")
    axes = figure.subplots()
    hatches = "", "////", "...."
    y, ticks, seen = 0.0, {}, []
    for name in names:
        top = y
        for contestant in shown(workloads[name]):
            seen.append(contestant)
            for i, run in enumerate(runs):
                if name in run["races"]:
                    value = statistics.median(ratios(run["races"][name]["turns"], contestant))
                    style = {"color": COLORS[contestant], "hatch": hatches[i], "edgecolor": "white", "linewidth": 0}
                    axes.barh(y, value, 0.85, **style)
                    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
                    axes.annotate(f"{value:.2g}", (value, y), **beside)
                y += 1
        ticks[(top + y - 1) / 2] = workloads[name].title
        y += 0.5
    legend = [Patch(color=COLORS[contestant], label=contestant) for contestant in dict.fromkeys(seen)]
    if len(runs) > 1:
        legend += [Patch(facecolor="0.5", hatch=hatches[i], edgecolor="white", label=f"with {TITLES[run['level']]}")
                   for i, run in enumerate(runs)]  # fmt: skip
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}")
    axes.set_yticks([*ticks], ticks.values())
    axes.set_ylim(y, -1)
    axes.margins(x=0.08)
    axes.set_xlabel("their time over the time of minigpt2; right of 1, minigpt2 is faster")
    axes.set_title("minigpt2 against others on the same CPU")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(handles=legend, frameon=False, fontsize=8)
    figure.savefig(path)
