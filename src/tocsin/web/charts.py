"""Drawings as SVG on the server: bars, columns, a line of time, the map of reach. They only draw; numbers come in ready.

Colours are classes of the page's style sheet, so that one drawing serves light and dark and a strict content security policy. Each has a
title for those who listen, and the page shows the same numbers as text or table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

NODE_WIDTH, NODE_HEIGHT, COLUMN, ROW = 168, 44, 250, 62


def share_bar(parts: Sequence[tuple[str, int, str]], *, total: int, title: str, height: int = 10) -> SafeString:
    """Return a bar of `total` filled with (label, count, class) from the left; what is left stays the track."""
    scale = 100 / total if total > 0 else 0
    x, rects = 0.0, []
    for label, count, css in parts:
        width = count * scale
        rects.append((f"{x:.3f}", f"{width:.3f}", height, css, label, f"{count:,}"))
        x += width
    return format_html(
        '<svg viewBox="0 0 100 {h}" height="{h}" preserveAspectRatio="none" role="img" aria-label="{t}">'
        '<rect class="track" width="100" height="{h}"/>{r}</svg>',
        h=height,
        t=title,
        r=format_html_join("", '<rect x="{}" width="{}" height="{}" class="{}"><title>{}: {}</title></rect>', rects),
    )


@dataclass(frozen=True, slots=True)
class MapNode:
    """A box in the map of reach: `kind` is host, reached or cut."""

    name: str
    detail: str
    kind: str


def reach_map(host: str, reached: Sequence[MapNode], cut: Sequence[MapNode], *, title: str) -> SafeString:
    """Return the map of reach: the host on the left, what it reaches in red, what controls cut off in green and dashed."""
    nodes = [*reached, *cut]
    height = max(1, len(nodes)) * ROW + 16
    middle = height / 2
    css = {"reached": ("edge-bad", "node-bad"), "cut": ("edge-cut", "node-good")}
    edges, boxes = [], []
    for i, node in enumerate(nodes):
        y = 8 + i * ROW + NODE_HEIGHT / 2
        edge, box = css[node.kind]
        edges.append((f"M {NODE_WIDTH + 10} {middle} C {NODE_WIDTH + 60} {middle}, {COLUMN - 40} {y}, {COLUMN} {y}", edge))
        boxes.append(
            (
                COLUMN,
                y - NODE_HEIGHT / 2,
                NODE_WIDTH + 170,
                NODE_HEIGHT,
                box,
                COLUMN + 12,
                y - 3,
                node.name,
                COLUMN + 12,
                y + 14,
                node.detail,
            )
        )
    width = COLUMN + NODE_WIDTH + 180
    return format_html(
        '<svg viewBox="0 0 {w} {h}" width="{w}" role="img" aria-label="{t}">{e}'
        '<rect x="4" y="{hy}" width="{nw}" height="{nh}" rx="8" class="node-bad"/><text x="16" y="{t1}">{host}</text>'
        '<text x="16" y="{t2}" class="soft">broken into</text>{b}</svg>',
        w=width,
        h=height,
        t=title,
        host=host,
        hy=middle - NODE_HEIGHT / 2,
        nw=NODE_WIDTH + 6,
        nh=NODE_HEIGHT,
        t1=middle - 3,
        t2=middle + 14,
        e=format_html_join("", '<path d="{}" class="{}"/>', edges),
        b=format_html_join(
            "",
            '<rect x="{}" y="{}" width="{}" height="{}" rx="8" class="{}"/><text x="{}" y="{}">{}</text>'
            '<text x="{}" y="{}" class="soft">{}</text>',
            boxes,
        ),
    )


def shortened(text: str, chars: int = 46) -> str:
    """Return a text that fits into a box of the map, cut at a word."""
    return text if len(text) <= chars else text[:chars].rsplit(" ", 1)[0].rstrip(",") + " …"


def columns(values: Sequence[float], labels: Sequence[str], *, title: str, mark: float | None = None, unit: str = "") -> SafeString:
    """Return a column chart; `mark` draws a level across it, such as a promise or a capacity."""
    width, height, foot, head = 640, 92, 20, 16
    top = max([*values, mark or 0, 1e-9])
    step = width / max(1, len(values))
    bars = [
        (
            f"{i * step + 1:.2f}",
            f"{head + height - v / top * height:.2f}",
            f"{max(1.0, min(step - 2, 40)):.2f}",
            f"{max(1.5, v / top * height):.2f}",
            f"{labels[i]}: {v:,.0f} {unit}".rstrip(),
        )
        for i, v in enumerate(values)
        if v
    ]
    every = max(1, -(-len(labels) // 8))
    names = [(f"{i * step:.1f}", head + height + 15, labels[i]) for i in range(0, len(labels), every) if i * step < width - 50]
    line = (
        format_html('<path class="edge-cut" d="M 0 {y} H {w}"/>', y=f"{head + height - mark / top * height:.2f}", w=width) if mark else ""
    )
    return format_html(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{t}"><path class="grid" d="M 0 {hd} H {w} M 0 {b} H {w}"/>'
        '<text x="0" y="11" class="soft">{top}</text>{r}{l}{n}</svg>',
        w=width,
        h=head + height + foot,
        hd=head,
        b=head + height,
        t=title,
        top=f"{top:,.0f}" if values else "",
        r=format_html_join("", '<rect x="{}" y="{}" width="{}" height="{}" class="fill"><title>{}</title></rect>', bars),
        l=line,
        n=format_html_join("", '<text x="{}" y="{}" class="soft">{}</text>', names),
    )


def milestones(stops: Sequence[tuple[str, str, float, str]], *, title: str) -> SafeString:
    """Return a line of time with what happened on it: stops of (name, clock, seconds from the first, class), in order of time.

    The line is true to time; the names stand evenly below it, each with a thread to its place, so that stops close together stay legible.
    """
    width, line_y, text_y, margin = 920, 14, 58, 12
    span = max([seconds for _, _, seconds, _ in stops] or [0]) or 1
    step = width / max(1, len(stops))
    threads, dots, names = [], [], []
    for i, (name, clock, seconds, css) in enumerate(stops):
        x, to = margin + seconds / span * (width - 2 * margin), i * step + 6
        threads.append(f"M {x:.1f} {line_y} L {to:.1f} {text_y - 16}")
        dots.append((f"{x:.1f}", line_y, css))
        names.append((f"{to - 4:.1f}", text_y, name, f"{to - 4:.1f}", text_y + 17, clock))
    return format_html(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{t}"><path class="edge" d="M {m} {y} H {e}"/>{th}{d}{n}</svg>',
        w=width,
        h=text_y + 24,
        m=margin,
        y=line_y,
        e=width - margin,
        t=title,
        th=format_html_join("", '<path class="thread" d="{}"/>', [(t,) for t in threads]),
        d=format_html_join("", '<circle cx="{}" cy="{}" r="6" class="{}"/>', dots),
        n=format_html_join("", '<text x="{}" y="{}" class="strong">{}</text><text x="{}" y="{}" class="soft">{}</text>', names),
    )


def finish_line(
    begin: float | None, now: float | None, end: float | None, *, deadline: float | None, title: str, height: int = 12
) -> SafeString:
    """Return a line of time from `begin` over `now` to a forecast `end`, all as shares of its width, against a deadline that is a stroke.

    What lies beyond the deadline is drawn in the colour of alarm. None: not known, not begun, or off the line.
    """
    parts: list[tuple[str, str, int, str, str]] = []

    def part(a: float, b: float, css: str, words: str) -> None:
        if b > a:
            parts.append((f"{a * 100:.3f}", f"{max((b - a) * 100, 0.4):.3f}", height, css, words))

    if begin is not None and now is not None:
        part(begin, now, "fill-good", "sent until now")
        ahead = max(now, end) if end is not None else now
        part(now, min(ahead, deadline) if deadline is not None else ahead, "fill-hope", "forecast")
        if deadline is not None:
            part(max(now, deadline), ahead, "fill-bad", "after the deadline")
    stroke = ""
    if deadline is not None:
        drawn = '<rect x="{}" width="0.6" height="{}" class="stroke"><title>deadline</title></rect>'
        stroke = format_html(drawn, f"{min(deadline * 100, 99.4):.3f}", height)
    return format_html(
        '<svg viewBox="0 0 100 {h}" height="{h}" preserveAspectRatio="none" role="img" aria-label="{t}">'
        '<rect class="track" width="100" height="{h}"/>{r}{s}</svg>',
        h=height,
        t=title,
        r=format_html_join("", '<rect x="{}" width="{}" height="{}" class="{}"><title>{}</title></rect>', parts),
        s=stroke,
    )
