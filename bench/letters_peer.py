"""The peer of `bench/letters.py`, run by a Python that has ReportLab: reads the letters as JSON, sets them into one PDF in memory."""

from __future__ import annotations

import html
import io
import json
import resource
import sys

from reportlab.lib.pagesizes import LETTER  # type: ignore[import-not-found]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-not-found]
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Spacer  # type: ignore[import-not-found]

letters = json.load(sys.stdin)
before = resource.getrusage(resource.RUSAGE_SELF)
plain = ParagraphStyle("plain", fontName="Times-Roman", fontSize=10.5, leading=13, spaceAfter=8)
bold = ParagraphStyle("bold", parent=plain, fontName="Times-Bold")
story = []
for letter in letters:
    story += [Spacer(1, 110), *(Paragraph(html.escape(line), plain) for line in letter["address"]), Spacer(1, 60)]
    story += [Paragraph(html.escape(line), plain) for line in (*letter["info"], letter["date"])]
    story.append(Paragraph(html.escape(letter["subject"]), bold))
    for piece in letter["body"]:
        text = html.escape(f"{piece.get('mark', '')} {piece['text']}".strip())
        story.append(Paragraph(text, bold if piece["kind"] == "heading" else plain))
    story.append(PageBreak())
out = io.BytesIO()
SimpleDocTemplate(out, pagesize=LETTER).build(story)
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps({"letters": len(letters), "cpu_s": round(cpu, 2), "rss_mb": after.ru_maxrss // 1024, "bytes": len(out.getvalue())}))
