"""Draws docs/peers.svg from what cloakroom-peers wrote with --json:

    plot.py RATES.json STORM.json docs/peers.svg

Left, from RATES: loads per second of the table that the title names. Right, from STORM: the longest load.
Needs matplotlib.
"""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

RATES = "100 k sessions, 8 threads"
OURS, OTHERS = "#2563eb", "#94a3b8"


def medians(path, title, column):
    tables = json.load(open(path))["tables"]
    (table,) = [table for table in tables if table["title"].startswith(title)]
    rounds = {store: columns[column]["rounds"] for store, columns in table["stores"].items()}
    return {store: statistics.median(figures) for store, figures in rounds.items() if figures}


def bars(axes, figures, title, label, write):
    names = list(figures)
    colours = [OURS if name.startswith("cloakroom") else OTHERS for name in names]
    drawn = axes.barh(names, list(figures.values()), color=colours)
    axes.bar_label(drawn, [write(figure) for figure in figures.values()], padding=3, fontsize=8)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def time(nanos):
    return f"{nanos / 1e6:.1f} ms" if nanos < 1e9 else f"{nanos / 1e9:.1f} s"


def main():
    rates, storm, out = sys.argv[1:]
    loads = medians(rates, RATES, "load, throughput")
    loads = dict(sorted(loads.items(), key=lambda item: -item[1]))
    worst = medians(storm, "expiry storm", "storm max")
    worst = dict(sorted(worst.items(), key=lambda item: item[1]))
    plt.rcParams.update({"svg.hashsalt": "cloakroom", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(3, 2))
    bars(left, loads, f"Loads, {RATES}", "loads per second, log scale: longer is better", lambda f: f"{f / 1e6:.2g} M")
    left.set_xscale("log")
    left.set_xlim(right=max(loads.values()) * 3)
    bars(right, worst, "Longest load while a million sessions expire", "nanoseconds, log scale: shorter is better", time)
    right.set_xscale("log")
    right.set_xlim(right=max(worst.values()) * 12)
    figure.tight_layout()
    figure.patch.set_facecolor("white")
    figure.savefig(out, metadata={"Date": None})


main()
