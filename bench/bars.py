# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of the target: each bar is a figure computed from the rounds, and a limit."""

from dataclasses import dataclass
from statistics import median
from typing import Callable, Optional


@dataclass
class Bar:
    title: str
    unit: str  # how the figure is written: "x", "%", "ticks"
    at_least: bool  # True: figure >= limit; False: figure <= limit
    limit: float
    needs_peer: bool
    figure: Callable  # Rounds -> float or None

    def holds(self, value):
        return value >= self.limit if self.at_least else value <= self.limit

    def margin(self, value):
        """1 is just met; more is better. For the plot only."""
        if self.at_least:
            return value / self.limit
        if self.limit == 0:
            return 1.0 if value == 0 else 0.0
        return self.limit / value if value > 0 else 4.0

    def text(self, value):
        if self.unit == "ticks":
            digits = 0
        elif self.unit == "%" or value >= 10:
            digits = 1
        else:
            digits = 2 if value >= 1 else 3
        return f"{value:.{digits}f} {self.unit}"

    def limit_text(self):
        return f"{'>=' if self.at_least else '<='} {self.limit:g} {self.unit}"


class Rounds:
    """All results: rounds[i][(who, workload)] is a generator's JSON object."""

    def __init__(self):
        self.rounds = []

    def column(self, who, workload, *path):
        values = []
        for results in self.rounds:
            value = results.get((who, workload))
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                values.append(value)
        return values

    def middle(self, who, workload, *path) -> Optional[float]:
        values = self.column(who, workload, *path)
        return median(values) if values else None

    def ratio(self, above, below) -> Optional[float]:
        """Median over the rounds of one figure by another of the same round."""
        ratios = []
        for results in self.rounds:
            pair = []
            for who, workload, *path in (above, below):
                value = results.get((who, workload))
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
                pair.append(value)
            if pair[0] is not None and pair[1]:
                ratios.append(pair[0] / pair[1])
        return median(ratios) if ratios else None


CPU = ("target_cpu", "us_per_io")
P50 = ("latency_us", "p50")
P99 = ("latency_us", "p99")


def against_peer(workload, *path):
    return lambda r: r.ratio(("us", workload, *path), ("peer", workload, *path))


def percent(figure):
    def scaled(rounds):
        value = figure(rounds)
        return None if value is None else 100 * value
    return scaled


def of_ceiling(workload):
    return percent(lambda r: r.ratio(("us", workload, "iops"), ("tcp", workload, "iops")))


def both_loops(rounds):
    """CPU of the second busiest thread in percent of the busiest's."""
    shares = []
    for threads in rounds.column("us", "loops-2", "target_threads"):
        times = sorted((t["ms"] for t in threads), reverse=True)
        if times and times[0] > 0:
            shares.append(100 * (times[1] if len(times) > 1 else 0) / times[0])
    return median(shares) if shares else None


def sessions_cost(rounds):
    """Extra CPU per I/O of 64 sessions, in percent of one session's; less is no fault."""
    ratio = rounds.ratio(("us", "sessions-64", *CPU), ("us", "read-4k-q32", *CPU))
    return None if ratio is None else 100 * max(0.0, ratio - 1)


BARS = [
    Bar("4 KiB read q32, CPU per I/O of tgt's", "x", False, 0.12, True,
        against_peer("read-4k-q32", *CPU)),
    Bar("4 KiB write q32, CPU per I/O of tgt's", "x", False, 0.12, True,
        against_peer("write-4k-q32", *CPU)),
    Bar("4 KiB read q32, IOPS of tgt's", "x", True, 9, True,
        against_peer("read-4k-q32", "iops")),
    Bar("4 KiB write q32, IOPS of tgt's", "x", True, 9, True,
        against_peer("write-4k-q32", "iops")),
    Bar("4 KiB read q32, IOPS of bare TCP's", "%", True, 65, False, of_ceiling("read-4k-q32")),
    Bar("4 KiB write q32, IOPS of bare TCP's", "%", True, 65, False, of_ceiling("write-4k-q32")),
    Bar("128 KiB sequential read, bandwidth of tgt's", "x", True, 4.5, True,
        against_peer("read-128k", "mb_s")),
    Bar("128 KiB sequential write, bandwidth of tgt's", "x", True, 3.2, True,
        against_peer("write-128k", "mb_s")),
    Bar("4 KiB read q1, p50 of tgt's", "x", False, 0.25, True, against_peer("read-q1", *P50)),
    Bar("4 KiB write q1, p50 of tgt's", "x", False, 0.25, True, against_peer("write-q1", *P50)),
    Bar("8 sessions, p99 of p50", "x", False, 3, False,
        lambda r: r.ratio(("us", "sessions-8", *P99), ("us", "sessions-8", *P50))),
    Bar("paced 20 k IOPS, of one core", "%", False, 25, False,
        lambda r: r.middle("us", "paced-20k", "target_cpu", "percent")),
    Bar("idle with 8 sessions, CPU in 5 s", "ticks", False, 0, False,
        lambda r: r.middle("us", "idle", "target_cpu", "ticks")),
    Bar("with digests, IOPS of those without", "%", True, 70, False,
        percent(lambda r: r.ratio(("us", "digests", "iops"), ("us", "read-4k-q32", "iops")))),
    Bar("64 sessions, CPU per I/O over one session's", "%", False, 25, False, sessions_cost),
    Bar("2 loops, CPU of the lesser loop of the busier's", "%", True, 30, False, both_loops),
]
