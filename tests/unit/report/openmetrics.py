# SPDX-License-Identifier: BSD-2-Clause
"""A strict reader of OpenMetrics 1.0 text: whatever the specification forbids is an error."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(
    rf'^({NAME})(?:\{{((?:{LABEL}="(?:[^"\\\n]|\\["\\n])*",?)*)\}})? (\S+)(?: (\S+))?$')
PAIR = re.compile(rf'({LABEL})="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
NUMBER = re.compile(r"^[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|Inf|NaN)$")
SUFFIXES = {"counter": {"_total", "_created"}, "gauge": {""}, "info": {"_info"}, "stateset": {""},
            "summary": {"", "_count", "_sum", "_created"}, "unknown": {""},
            "histogram": {"_bucket", "_count", "_sum", "_created"}}


class Wrong(Exception):
    pass


def need(fact, line, why):
    if not fact:
        raise Wrong(f"{why}: {line!r}")


def labels_of(text, line):
    labels, at = {}, 0
    while text and at < len(text):
        m = PAIR.match(text, at)
        need(m, line, "labels")
        need(m.group(1) not in labels, line, "a label twice")
        need(m.group(3) == "" or m.end() < len(text), line, "a comma at the end")
        labels[m.group(1)] = re.sub(r"\\(.)", lambda e: "\n" if e.group(1) == "n" else e.group(1),
                                    m.group(2))
        at = m.end()
    return labels


def check_sample(family, kind, suffix, labels, value, line):
    need(suffix in SUFFIXES[kind], line, f"no sample of a {kind}")
    if kind in ("counter", "histogram") or suffix == "_count":
        need(value >= 0 and not math.isinf(value), line, "a counter is a number from 0 on")
    if suffix == "_count":
        need(value == int(value), line, "a count is whole")
    if kind == "info":
        need(value == 1 and labels, line, "an info is 1, with labels")
    if kind == "stateset":
        need(family in labels and value in (0, 1), line, "a state is 0 or 1, of a label")
    if kind == "summary" and suffix == "":
        need(0 <= float(labels.get("quantile", "nan")) <= 1, line, "a quantile")
        need(math.isnan(value) or value >= 0, line, "a quantile is not negative")


def parse(text):
    """{family: {"type", "unit", "help", "samples": [(name, labels, value)]}}"""
    need(text.endswith("# EOF\n"), text[-20:], "the end")
    families, current, seen, closed = {}, None, set(), set()
    for line in text.split("\n")[:-2]:
        need(line and line == line.strip("\r"), line, "an empty line")
        if line.startswith("#"):
            m = re.match(rf"^# (TYPE|UNIT|HELP) ({NAME}) (.*)$", line)
            need(m, line, "a comment of another form")
            what, name, rest = m.groups()
            if name != current:
                need(name not in closed, line, "a family in two pieces")
                closed.add(name)
                current = name
                families[name] = {"type": "unknown", "samples": []}
            f = families[name]
            need(not f["samples"], line, "metadata behind samples")
            need(what.lower() not in f or what == "TYPE" and f["type"] == "unknown", line, "twice")
            f[what.lower()] = rest
            if what == "TYPE":
                need(rest in SUFFIXES, line, "a type")
            if what == "UNIT":
                need(name.endswith("_" + rest), line, "the unit isn't in the name")
            continue
        m = SAMPLE.match(line)
        need(m, line, "a sample")
        name, labels, number, when = m.groups()
        need(when is None, line, "a time")
        need(current is not None and name.startswith(current), line, "a sample of another family")
        need(NUMBER.match(number), line, "a number")
        value = float(number)
        labels = labels_of(labels or "", line)
        check_sample(current, families[current]["type"], name[len(current):], labels, value, line)
        key = (name, tuple(sorted(labels.items())))
        need(key not in seen, line, "a sample twice")
        seen.add(key)
        families[current]["samples"].append((name, labels, value))
    taken = {}
    for name, f in families.items():
        for suffix in SUFFIXES[f["type"]]:
            need(taken.setdefault(name + suffix, name) == name, name, "names clash")
    return families
