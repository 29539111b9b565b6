#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
What report/ makes of answers, looked at by others: a strict reader of OpenMetrics, an XML parser. Also of
answers with hostile names, with fields missing and of wrong types. Argument: the program report_render.
"""
import copy
import json
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

from openmetrics import Wrong, parse
from outputs_answers import HOSTILE, cache, health, heatmap, history, lun, overview, session

RENDER = sys.argv[1]
SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "title", "style", "rect", "text", "path"}


def check(fact, what):
    if not fact:
        sys.exit(f"FAILED: {what}")


def render(output, answer):
    done = subprocess.run([RENDER, output], input=json.dumps(answer).encode(), capture_output=True,
                          timeout=20)
    check(done.returncode == 0, f"{output}: {done.returncode} {done.stderr.decode()[-2000:]}\n{answer}")
    return done.stdout.decode("utf-8")


ANSWERS = {"lun": lun, "cache": cache, "session": lambda n: session(n, 1), "health": health,
           "latency": history, "activity": history, "heatmap": heatmap,
           "metrics": lambda n: overview([n]), "json": lun}


# ---- checks of an output ------------------------------------------------------------------------------

def plain(text, what):
    """Nothing in it that a terminal obeys."""
    bad = re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffe\uffff]", text)
    check(not bad, f"{what}: {bad!r}")


def picture(text, what):
    """Well-formed, of the elements that are drawn, nothing that runs, loads or lies outside."""
    root = ET.fromstring(text)
    check(root.tag == SVG + "svg", f"{what}: {root.tag}")
    width, height = (float(x) for x in root.get("viewBox").split()[2:])
    check(float(root.get("width")) == width > 0 and float(root.get("height")) == height > 0, what)
    for e in root.iter():
        check(e.tag.removeprefix(SVG) in ELEMENTS, f"{what}: element {e.tag}")
        for key in e.attrib:
            check(not key.startswith("on") and "href" not in key, f"{what}: attribute {key}")
        for key, most in (("x", width), ("y", height), ("d", None)):
            value = e.get(key, "0")
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", value)]
            check(re.fullmatch(r"[-MLhvzlm\d. ]*", value), f"{what}: {key}={value[:60]}")
            if most is not None:
                check(0 <= numbers[0] <= most, f"{what}: {key}={value}")
        if e.get("d", "").startswith("M"):
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", e.get("d")):
                check(0 <= float(x) <= width and 0 <= float(y) <= height, f"{what}: {x} {y}")
    style = root.find(SVG + "style").text
    check("prefers-color-scheme:dark" in style and "url(" not in style and "@import" not in style, what)
    return root


def look(output, answer, what):
    text = render(output, answer)
    check(text.endswith("\n"), f"{what}: the end of the line")
    if output in ("latency", "activity", "heatmap"):
        picture(text, what)
    elif output == "metrics":
        plain(text, what)
        try:
            parse(text)
        except Wrong as e:
            check(False, f"{what}: {e}")
    elif output == "json":
        check(json.loads(text) == answer, f"{what}: another value")
    else:
        plain(text, what)
    return text


# ---- tests ---------------------------------------------------------------------------------------------

def hostile_names():
    for output, make in ANSWERS.items():
        for name in HOSTILE:
            look(output, make(name), f"{output} of {name!r}")


def metrics_say_what_the_answer_says():
    names = HOSTILE[:8]
    families = parse(render("metrics", overview(names)))

    def values(sample, **labels):
        return [v for f in families.values() for n, have, v in f["samples"]
                if n == sample and all(have.get(k) == x for k, x in labels.items())]

    check(values("terrace_lun_commands_total", lun="plain", kind="read") == [99999], "reads")
    check(values("terrace_lun_latency_seconds", lun="plain", kind="read", quantile="0.99") == [0.001024],
          "p99")
    check(values("terrace_lun_latency_seconds", lun="plain", kind="write", quantile="0.99") == [],
          "no writes, no p99")
    check(values("terrace_lun_tier_hits_total", lun="plain", tier="ram") == [700], "hits")
    check(values("terrace_state", terrace_state="degraded") == [1], "state")
    check(values("terrace_cache_state", cache="plain", terrace_cache_state="degraded") == [1], "cache")
    check(values("terrace_session_data_bytes_total", tsih="0", kind="write") == [8192], "session")
    check(len(values("terrace_lun_info")) == len(names), "LUNs")
    check(values("terrace_lun_info", store='file:/a"b\\c\ufffdd') == [1], "an escaped name")
    one = parse(render("metrics", lun("x")))
    check("terrace_state" not in one and one["terrace_lun_size_bytes"]["samples"] ==
          [("terrace_lun_size_bytes", {"lun": "x"}, 2 << 40)], "of one LUN")


def text_is_aligned():
    text = render("lun", lun("x"))
    rows = [line for line in text.split("\n") if re.match(r"(reads/s|read p\S+ ms|RAM hits|destage B/s) ", line)]
    check(len(rows) == 3 + 4, f"rows: {rows}")
    for row in rows:
        check(row[26] != " " and row[37] != " " and row[48] != " ", f"columns: {row!r}")
    for wanted in ("1.5k", "5.9MiB", "88%", "0.128", "1311", "2TiB", "dirty           4KiB"):
        check(wanted in text, f"no {wanted} in\n{text}")
    check(render("health", health("x")).split()[0] == "degraded", "the first word of health")
    check("queue" not in render("lun", {"name": "x", "state": "store not open", "why": "gone"}),
          "a LUN that isn't served")


def pictures_of_few_values():
    for count in (0, 1, 2, 600):
        for output in ("latency", "activity"):
            look(output, history("x", count), f"{output} of {count}")
    for parts in (0, 1, 63, 64, 65, 1024, 100000):
        look("heatmap", heatmap("x", parts), f"heatmap of {parts}")


JUNK = [None, True, -1, 0, 1e308, -1e308, 2**62, "", "x", [], {}, [[]], [None, "x", {}], 1.5]


def mutate(value, rng, depth=5):
    """Somewhere in it another value, or none."""
    if depth and isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            del value[key]
        else:
            value[key] = mutate(value[key], rng, depth - 1)
        return value
    if depth and isinstance(value, list) and value and rng.random() < 0.7:
        for _ in range(rng.choice([1, 1, 50])):
            i = rng.randrange(len(value))
            value[i] = mutate(value[i], rng, depth - 1)
        return value
    return copy.deepcopy(rng.choice(JUNK))


def wrong_answers():
    rng = random.Random(7)
    for output, make in ANSWERS.items():
        small = make if output not in ("latency", "activity", "heatmap") else (
            (lambda n: history(n, 30)) if output != "heatmap" else (lambda n: heatmap(n, 70)))
        for i in range(40):
            answer = small("x")
            for _ in range(rng.choice([1, 3, 10])):
                answer = mutate(answer, rng)
            if output != "json":
                look(output, answer, f"{output} of wrong answer {i}")


def main():
    hostile_names()
    metrics_say_what_the_answer_says()
    text_is_aligned()
    pictures_of_few_values()
    wrong_answers()


main()
