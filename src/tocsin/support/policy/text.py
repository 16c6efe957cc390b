"""What the person wrote: without the mail quoted beneath, without the signature, cut into sentences. Linear in the text's length.

Own and line by line because the pattern-based parsers backtrack over hostile mails; nothing is deleted, the mail itself stays as it came.
"""

from __future__ import annotations

import re

TEXT_CHARS_MAX = 100_000
LINE_CHARS_MAX = 2_000
SENTENCES_MAX = 60
SENTENCE_CHARS_MAX = 600
SENTENCE_CHARS_MIN = 2
NAME_WORDS_MAX = 4

_WROTE = re.compile(
    r"\s*(?:On\b.{4,}\bwrote|Am\b.{4,}\bschrieb\b.{0,200}|Le\b.{4,}a écrit|El\b.{4,}escribió|Il\b.{4,}ha scritto|Op\b.{4,}schreef\b.{0,200})\s?:\s*",
    re.IGNORECASE,
)
_WROTE_BEGINS = re.compile(r"\s*(?:On|Am|Le|El|Il|Op)\s.{4,}", re.IGNORECASE)
_ORIGINAL = re.compile(
    r"\s*(?:[-_=]{2,}\s*(?:Original Message|Forwarded message|Ursprüngliche Nachricht|Weitergeleitete Nachricht|Message d.origine|Mensaje original)"
    r"\s*[-_=]{2,}|Begin forwarded message:)\s*",
    re.IGNORECASE,
)
_RULE = re.compile(r"\s*[_\-=*]{8,}\s*")
_FROM = re.compile(r"\s*\*?(?:From|Von|De|Da|Van)\s?:\*?\s+\S.*", re.IGNORECASE)
_FIELD = re.compile(
    r"\s*\*?(?:Sent|Date|To|Subject|Gesendet|Datum|An|Betreff|Envoyé|À|Objet|Enviado|Para|Asunto|Fecha|Cc)\s?:\*?\s+.*", re.IGNORECASE
)
_SIGNATURE = re.compile(r"(?:--|—|__)\s*")
_FOOTER = re.compile(
    r"\s*(?:Sent from (?:my|the|a|Mail|Yahoo|Outlook|Proton)\b.{0,80}|Get Outlook for .{1,40}|Von meinem .{1,40} gesendet|Envoyé de mon .{1,60}"
    r"|Enviado desde mi .{1,40})",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\W*(?:(?:many |best |kind |warm |with |yours |kindest )*(?:thanks?(?: you)?|thx|regards|wishes|greetings|cheers|best|sincerely|faithfully|truly|yours)"
    r"(?: (?:so|very) much| a lot| in advance| again| and)?|hi|hello|hey|dear|good (?:morning|afternoon|evening|day)"
    r"|to whom it may concern|please (?:answer|reply|respond) soon)"
    r"(?:[ ,]+(?:there|all|team|support|customer|service|sir|madam|or|sirs|folks|everybody|everyone|regards|you))*\W*",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n\s*\n|\n(?=\s*[-*•\d])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")


def clean(text: str) -> str:
    """Return the text with line ends as `\\n`, without control characters and lone surrogates, cut at TEXT_CHARS_MAX."""
    return _CONTROL.sub(" ", text[:TEXT_CHARS_MAX].replace("\r\n", "\n").replace("\r", "\n"))


def own_words(text: str) -> str:
    """Return what the writer wrote, above, between or below the quoted mail. A mail that is nothing but a quote gives the quote."""
    lines = [line[:LINE_CHARS_MAX] for line in text.split("\n")]
    kept: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith(">"):
            at += 1
            continue
        header = _wrote_lines(lines, at)
        if header:
            at += header
            following = next((x for x in lines[at : at + 4] if x.strip()), "")
            if not following.lstrip().startswith(">"):
                break  # the quote is not marked line by line: all that follows is it
            continue
        if _begins_quote(lines, at):
            if any(x.strip() for x in kept):
                break
            at += 1  # forwarded without a word: what was forwarded is the matter
            continue
        if _SIGNATURE.fullmatch(line):
            at += 1
            while (
                any(x.strip() for x in kept) and at < len(lines) and not lines[at].lstrip().startswith(">") and not _wrote_lines(lines, at)
            ):
                at += 1
            continue
        if not _FOOTER.fullmatch(line):
            kept.append(line.rstrip())
        at += 1
    own = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return own or text.strip()


def _wrote_lines(lines: list[str], at: int) -> int:
    """Return how many lines (1 to 3) the line "On … wrote:" takes from here; 0 if it is none."""
    if not _WROTE_BEGINS.fullmatch(lines[at]):
        return 0
    for n in (1, 2, 3):
        if _WROTE.fullmatch(" ".join(lines[at : at + n])):
            return n
    return 0


def _begins_quote(lines: list[str], at: int) -> bool:
    if _ORIGINAL.fullmatch(lines[at]):
        return True
    begin = at + 1 if _RULE.fullmatch(lines[at]) else at
    block = [x for x in lines[begin : begin + 3] if x.strip()]
    return len(block) >= 2 and _FROM.fullmatch(block[0]) is not None and _FIELD.fullmatch(block[1]) is not None


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, at most SENTENCES_MAX; a question is rarely in the sixty-first.

    Greetings, closings and the name below a closing are left out, unless the text is nothing else.
    """
    lines = text.split("\n")
    kept: list[str] = []
    after_closing = False
    for line in lines:
        courtesy = _COURTESY.fullmatch(line) is not None
        name = after_closing and len(line.split()) <= NAME_WORDS_MAX and not line.rstrip().endswith(("?", "."))
        kept.append("" if courtesy or name else line)
        after_closing = courtesy or (after_closing and not line.strip())
    whole = " ".join(text.split())[:SENTENCE_CHARS_MAX]
    return _split("\n".join(kept)) or _split(text) or ([whole] if whole else [])


def _split(text: str) -> list[str]:
    found = (" ".join(part.split())[:SENTENCE_CHARS_MAX] for part in _END.split(text) if part)
    return [s for s in found if len(s) >= SENTENCE_CHARS_MIN and _COURTESY.fullmatch(s) is None][:SENTENCES_MAX]
