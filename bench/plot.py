# SPDX-License-Identifier: BSD-2-Clause
"""The bars as one SVG: each row's length is how far its figure is from its limit."""

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
