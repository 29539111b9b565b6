# SPDX-License-Identifier: BSD-2-Clause
"""Hit ratio over cache size, one panel a trace, one line a policy, as one SVG."""

from plot import text

PANEL_W, PANEL_H = 300, 220
LEFT, TOP, GAP_X, GAP_Y = 60, 110, 40, 70
COLUMNS = 3

# key, title, colour (light and dark alike), dashes
LINES = [("belady", "offline optimum", "#8a8f99", "2 4"), ("lru", "LRU", "#b5652a", "7 4"),
         ("arc", "ARC", "#8d5bb8", "7 4"), ("ram", "Terrace, RAM tier", "#2e8b57", ""),
         ("ssd", "Terrace, SSD tier", "#2f6fb3", "")]

STYLE = """
  text { font: 14px system-ui, 'DejaVu Sans', Verdana, sans-serif; }
  .title { font-size: 18px; font-weight: 600; }
  .small { font-size: 12px; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #16181d; }
    .ink { fill: #e8e8ea; }
    .faint { fill: #a3a7b0; }
    .grid { stroke: #33373f; }
  }
"""


def panel(x0, y0, trace):
    sizes = trace["sizes"]
    step = PANEL_W / (len(sizes) - 1)
    out = [text(x0, y0 - 12, trace["title"])]
    for percent in range(0, 101, 25):
        y = y0 + PANEL_H * (1 - percent / 100)
        out.append(f'<line x1="{x0}" x2="{x0 + PANEL_W}" y1="{y:.1f}" y2="{y:.1f}" class="grid" '
                   f'stroke="#d9dce2"/>')
        out.append(text(x0 - 8, y + 4, str(percent), "faint small", "#5b606b", "end"))
    for i, size in enumerate(sizes):
        out.append(text(x0 + i * step, y0 + PANEL_H + 20, f"{100 * size['share']:g} %",
                        "faint small", "#5b606b", "middle"))
    for key, _, colour, dashes in LINES:
        points = " ".join(f"{x0 + i * step:.1f},{y0 + PANEL_H * (1 - s[key]['hits']):.1f}"
                          for i, s in enumerate(sizes))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2" '
                   f'stroke-dasharray="{dashes}"/>')
    return out


def legend(y):
    out, x = [], LEFT
    for _, title, colour, dashes in LINES:
        out.append(f'<line x1="{x}" x2="{x + 32}" y1="{y - 5}" y2="{y - 5}" stroke="{colour}" '
                   f'stroke-width="2.2" stroke-dasharray="{dashes}"/>')
        out.append(text(x + 40, y, title, "ink small"))
        x += 62 + 8 * len(title)
    return out


def svg(result):
    rows = -(-len(result["traces"]) // COLUMNS)
    width = LEFT + COLUMNS * (PANEL_W + GAP_X)
    height = TOP + rows * (PANEL_H + GAP_Y)
    subtitle = (f"hits in % over cache size in % of the blocks touched; {result['accesses']:,} "
                f"accesses of 4 KiB each, seed {result['seed']}")
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'width="{width}" height="{height}" font-family="DejaVu Sans, sans-serif" '
           f'font-size="14">',
           f"<title>Terrace cache policy</title><style>{STYLE}</style>",
           f'<rect width="{width}" height="{height}" class="page" fill="#ffffff"/>',
           text(20, 34, "Cache policy against LRU, ARC and the offline optimum", "ink title"),
           text(20, 56, subtitle, "faint small", "#5b606b")]
    out += legend(80)
    for i, trace in enumerate(result["traces"]):
        out += panel(LEFT + i % COLUMNS * (PANEL_W + GAP_X),
                     TOP + 20 + i // COLUMNS * (PANEL_H + GAP_Y), trace)
    out.append("</svg>")
    return "\n".join(out) + "\n"
