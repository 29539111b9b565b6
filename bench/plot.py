# SPDX-License-Identifier: BSD-2-Clause
"""The bars as one SVG: each row's length is how far its figure is from its limit; and the course of a load."""

import math
from xml.sax.saxutils import escape

WIDTH = 960
ROW = 30
LABEL = 350
SCALE = 170  # pixels for a margin of 1, where the limit is
CAP = 2.2

# Attributes are the light form; the style sheet changes them where the viewer is dark.
STYLE = """
  text { font: 14px system-ui, 'DejaVu Sans', Verdana, sans-serif; }
  .title { font-size: 18px; font-weight: 600; }
  .small { font-size: 12px; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #16181d; }
    .ink { fill: #e8e8ea; }
    .faint { fill: #a3a7b0; }
    .track { fill: #262a33; }
    .met { fill: #4fb477; }
    .missed { fill: #e2734f; }
    .met-ink { fill: #7fd6a2; }
    .missed-ink { fill: #ff9c7d; }
    .limit { stroke: #e8e8ea; }
  }
"""


def text(x, y, words, classes="ink", fill="#1c1e22", anchor="start"):
    return (f'<text x="{x}" y="{y}" class="{classes}" fill="{fill}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')


def row(y, bar, value):
    limit_x = LABEL + SCALE
    out = [text(LABEL - 12, y + 19, bar.title, anchor="end"),
           f'<rect x="{LABEL}" y="{y + 6}" width="{SCALE * CAP:.0f}" height="18" rx="3" '
           f'class="track" fill="#eceef2"/>']
    if value is None:
        out.append(text(LABEL + 8, y + 19, "not measured", "faint small", "#5b606b"))
    else:
        margin = min(bar.margin(value), CAP)
        met = bar.holds(value)
        out.append(f'<rect x="{LABEL}" y="{y + 6}" width="{max(2, SCALE * margin):.0f}" '
                   f'height="18" rx="3" class="{"met" if met else "missed"}" '
                   f'fill="{"#2e8b57" if met else "#c8502d"}"/>')
        ends = text(LABEL + SCALE * CAP + 12, y + 19, bar.text(value),
                    "met-ink" if met else "missed-ink", "#1f6b42" if met else "#a83c1c")
        out.append(ends)
    out.append(f'<line x1="{limit_x}" x2="{limit_x}" y1="{y + 2}" y2="{y + 28}" '
               f'class="limit" stroke="#1c1e22" stroke-width="2"/>')
    out.append(text(WIDTH - 20, y + 19, bar.limit_text(), "faint small", "#5b606b", "end"))
    return out


def svg(bars, values, subtitle):
    height = 110 + ROW * len(bars)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           f'width="{WIDTH}" height="{height}" font-family="DejaVu Sans, sans-serif" '
           f'font-size="14">',
           f"<title>Terrace iSCSI benchmark</title><style>{STYLE}</style>",
           f'<rect width="{WIDTH}" height="{height}" class="page" fill="#ffffff"/>',
           text(20, 34, "iSCSI benchmark: figures against their limits", "ink title"),
           text(20, 56, subtitle, "faint small", "#5b606b"),
           text(LABEL + SCALE, 80, "limit", "faint small", "#5b606b", "middle"),
           text(LABEL + SCALE * CAP, 80, "better →", "faint small", "#5b606b", "end")]
    for i, (bar, value) in enumerate(zip(bars, values)):
        out += row(86 + i * ROW, bar, value)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def line(points, top, bottom, classes, colour):
    """A line of (x, share of the height)."""
    way = " ".join(f"{x:.1f},{bottom - (bottom - top) * min(max(y, 0), 1):.1f}" for x, y in points)
    return f'<polyline points="{way}" fill="none" class="{classes}" stroke="{colour}" stroke-width="2"/>'


def course(title, lines):
    """Rate and dirty share over time: lines of seconds, iops (drawn as a power, 10 to 1,000,000) and dirty."""
    height, left, top, bottom = 360, 70, 60, 310
    last = max(entry["seconds"] for entry in lines)
    def x(entry):
        return left + (WIDTH - left - 70) * entry["seconds"] / last
    rates = [(x(e), math.log10(max(e["iops"], 10)) / 5 - 0.2) for e in lines]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
           f'height="{height}" font-family="DejaVu Sans, sans-serif" font-size="14">',
           f"<title>{escape(title)}</title><style>{STYLE}</style>",
           f'<rect width="{WIDTH}" height="{height}" class="page" fill="#ffffff"/>',
           text(20, 34, title, "ink title")]
    for i, power in enumerate(("10", "100", "1k", "10k", "100k", "1M")):
        y = bottom - (bottom - top) * i / 5
        out.append(f'<line x1="{left}" x2="{WIDTH - 70}" y1="{y}" y2="{y}" stroke="#c9ccd3" class="track"/>')
        out.append(text(left - 8, y + 4, power, "met-ink small", "#1f6b42", "end"))
        out.append(text(WIDTH - 62, y + 4, f"{20 * i} %", "missed-ink small", "#a83c1c"))
    out += [line(rates, top, bottom, "met-line", "#2e8b57"),
            line([(x(e), e["dirty"]) for e in lines], top, bottom, "missed-line", "#c8502d"),
            text(left, bottom + 24, "0 s", "faint small", "#5b606b"),
            text(WIDTH - 70, bottom + 24, f"{last:.0f} s", "faint small", "#5b606b", "end"),
            text(WIDTH / 2, bottom + 24, "green: writes a second; red: dirty share of the SSD", "faint small",
                 "#5b606b", "middle"), "</svg>"]
    return "\n".join(out) + "\n"
