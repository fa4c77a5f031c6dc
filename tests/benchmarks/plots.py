"""The measurements as pictures."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from tests.benchmarks.results import RATE, Name, Results, Summary

INCHES = (9.0, 4.5)


def draw(results: Results, folder: Path) -> list[str]:
    """Write the pictures for which there are measurements; gives their names."""
    mpl.use("agg")  # writes files, opens no window
    names = []
    rates = [(name, summary) for name, summary in results.summaries().items() if name.measure == RATE]
    if rates:
        names.append(_throughput(rates, folder))
    if results.latencies_ms:
        names.append(_latency(results, folder))
    return names


def _throughput(rates: Sequence[tuple[Name, Summary]], folder: Path) -> str:
    figure, axes = plt.subplots(figsize=(INCHES[0], 1 + 0.35 * len(rates)), layout="constrained")
    labels = [f"{name.workload}: {name.who}" for name, _ in rates]
    medians = [summary.median for _, summary in rates]
    spread = [
        [summary.median - summary.minimum for _, summary in rates],
        [summary.maximum - summary.median for _, summary in rates],
    ]
    colours = ["tab:blue" if name.who == "ratchet" else "tab:gray" for name, _ in rates]
    bars = axes.barh(labels, medians, xerr=spread, color=colours, capsize=3)
    axes.bar_label(bars, [f"{median:,.0f}" for median in medians], padding=4)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("messages a second: median, from minimum to maximum")
    axes.grid(axis="x", alpha=0.3)
    return _save(figure, folder, "throughput.png")


def _latency(results: Results, folder: Path) -> str:
    figure, axes = plt.subplots(figsize=INCHES, layout="constrained")
    for who, values in results.latencies_ms.items():
        ordered = sorted(values)
        percents = [100 * (rank + 1) / len(ordered) for rank in range(len(ordered))]
        axes.plot(ordered, percents, label=who, color="tab:blue" if who == "ratchet" else "tab:gray")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("milliseconds from the send until the change can be read")
    axes.set_ylabel("percent of messages")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return _save(figure, folder, "latency.png")


def _save(figure: Figure, folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
