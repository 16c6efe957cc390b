"""Machine-readable reports: delivery status (RFC 3464, RFC 6533), feedback (RFC 5965), and Amazon's notifications in JSON.

A report is read from its own part; where a program broke the MIME around it (wrong boundary, no Content-Type, forwarded as text), from
the lines
that look like one anywhere in the body before the returned message.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tocsin.mail.types import BounceRecipient, Classified, InboundKind

from . import mime, notice, reason

RECIPIENTS_MAX = 1000
REPORT_BYTES_MAX = 512 * 1024

_FIELD = re.compile(r"^[ \t>]*((?:Final|Original|X-Actual)-(?:Recipient|Rcpt)|Action|Status|Diagnostic-Code|Remote-MTA"
      r"|Reporting-MTA|Last-Attempt-Date"
                    r"|Arrival-Date|X-[A-Za-z-]+|[A-Z][A-Za-z-]+)[ \t]*:[ \t]*(.*)$", re.IGNORECASE)
_ADDRESS_TYPE = re.compile(r"^\s*[A-Za-z0-9-]+\s*;\s*")
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_AFTER_CODE = re.compile(r"\b([45]\d\d)[ -]+['\"(#]{0,2}#?([245]\.\d{1,3}\.\d{1,3})\b")
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?=[ \-:,;.]|$)(?!\.\d)")


def complaint(root: mime.Part) -> list[BounceRecipient] | None:
    """Return whom a feedback report is about, or None if the mail is none. Reports of failed authentication (RFC 6591) are no
    complaints."""
    part = next((p for p in root.walk() if p.media == "message/feedback-report"), None)
    if part is None:
        return None
    fields = mime.head_of(mime.normalise(part.content))
    kind = next((" ".join(v.split()).lower() for k, v in fields if k == "feedback-type"), "abuse")
    if kind in {"auth-failure", "dmarc", "not-spam"}:
        return None
    wanted = {"original-rcpt-to", "removal-recipient", "original-recipient"}
    found = [_address(v) for k, v in fields if k in wanted]
    if not found:
        returned = notice.returned(root)
        found = [a for _, a in mime.addresses(returned.get("to"))] if returned else []
    return [BounceRecipient(a, "complained", "", "", "feedback", False) for a in dict.fromkeys(found or [""])][:RECIPIENTS_MAX]


def notification(root: mime.Part) -> Classified | None:
    """Return what an Amazon SES notification says, or None if the mail is none. Source: Amazon SES developer guide, notification
    contents."""
    if root.children or (b"otificationType" not in root.body[:200_000] and b"eventType" not in root.body[:200_000]):
        return None
    text = root.text.replace("!\n ", "")  # a mail program broke a line of more than 990 characters
    try:
        data, _ = json.JSONDecoder().raw_decode(text[text.index("{"):])
        for _ in range(2):
            if isinstance(data, dict) and isinstance(data.get("Message"), str):
                data = json.loads(data["Message"])
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    what = str(data.get("notificationType") or data.get("eventType") or "").lower()
    body = data.get(what)
    if not isinstance(body, dict):
        return None
    if what == "complaint":
        return Classified(InboundKind.COMPLAINT, tuple(
            BounceRecipient(a, "complained", "", "", "feedback", False) for a in _emails(body.get("complainedRecipients"))))
    if what == "bounce":
        found = [r for r in _dicts(body.get("bouncedRecipients")) if r.get("emailAddress")]
        return Classified(InboundKind.BOUNCE, tuple(
            _recipient(str(r["emailAddress"]), str(r.get("action") or "failed"), str(r.get("status") or ""),
                       str(r.get("diagnosticCode") or ""), "")
            for r in found[:RECIPIENTS_MAX]))
    return Classified(InboundKind.AUTO) if what in {"delivery", "send", "open", "click", "received"} else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _emails(value: Any) -> list[str]:
    return [str(v["emailAddress"]) for v in _dicts(value) if v.get("emailAddress")][:RECIPIENTS_MAX]


def report(root: mime.Part) -> list[BounceRecipient]:
    """Return the recipients of a delivery status report; empty if the mail holds none."""
    parts = [p for p in root.walk() if p.media in {"message/delivery-status", "message/global-delivery-status"}]
    groups = [g for p in parts for g in _groups(mime.decode(mime.normalise(p.content)[:REPORT_BYTES_MAX], p.parameter("charset")))]
    if not any(_is_recipient(g) for g in groups) and b"inal-Recipient" in root.body[:REPORT_BYTES_MAX]:
        groups = _groups(mime.decode(root.body[:REPORT_BYTES_MAX], ""))
    groups = [g for g in groups if _is_recipient(g)][:RECIPIENTS_MAX]
    if not groups:
        return []
    prose = notice.prose(root)
    if not prose and not parts:
        prose = root.text[:4000]
    single = len(groups) == 1
    found: dict[str, BounceRecipient] = {}
    for group in groups:
        address = _address(group.get("final-recipient") or group.get("x-actual-recipient") or group.get("original-recipient") or "")
        told = group.get("diagnostic-code", "")
        context = prose if single else notice.about(prose, address)
        made = _recipient(address, group.get("action",
        "").split()[0].strip(";").lower() if group.get("action") else "", group.get("status", ""), told, context)
        found.setdefault(address.lower() or str(len(found)), made)
    return list(found.values())


def _is_recipient(group: dict[str, str]) -> bool:
    return bool(group.get("final-recipient") or group.get("original-recipient") or group.get("x-actual-recipient"))


def _groups(text: str) -> list[dict[str, str]]:
    """Return the field groups of a report: a blank line, or a field that the group has already, begins the next."""
    groups: list[dict[str, str]] = []
    group: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        bare = line.lstrip("> \t") if line.startswith(">") else line
        if not bare.strip():
            if _is_recipient(group) and ("action" in group or "status" in group):
                groups.append(group)
                group = {}
            elif not _is_recipient(group):
                group = {}
            last = ""
            continue
        if bare[:1] in {" ", "\t"} and last:
            group[last] += " " + bare.strip()
            continue
        found = _FIELD.match(bare)
        if not found:
            last = ""
            continue
        last = found[1].lower()
        if last == "final-recipient" and last in group:
            groups.append(group)
            group = {}
        group.setdefault(last, found[2].strip())
    if group:
        groups.append(group)
    return groups


def _address(value: str) -> str:
    value = _ADDRESS_TYPE.sub("", " ".join(value.split()))
    inside = re.search(r"<([^<>\s]+)>", value)
    return (inside[1] if inside else value).strip(" <>\"'")


def _recipient(address: str, action: str, status: str, diagnostic: str, context: str) -> BounceRecipient:
    """Return a recipient from its fields; `context` is prose about it, used for what the fields leave open."""
    # The remote server's own words are more exact than what our side's program made of them.
    kind, semicolon, said = diagnostic.partition(";")
    said = said if semicolon and " " not in kind.strip() else diagnostic
    base, comment = _STATUS.search(status), status.partition("(")[2]
    if "address not found" in context.lower():
        comment += " address not found"
    status = base[1] if base else ""
    code, own = _codes(said)
    informative = bool(own or re.search(r"[A-Za-z]{3}", said))
    extra = notice.reply_in(context) if not informative or not code else ""
    if not code and extra:
        code, found = _codes(extra)
        own = own or found
    if own and (not status or own[0] in "45"):
        status = own
    if not status and action == "delivered":
        status = "2.0.0"
    if not status:
        status = "4.0.0" if code.startswith("4") or action in {"delayed", "expired"} else "5.0.0"
    text = said if informative else f"{said} {extra} {context}"
    word, hard = reason.reason_of(code, status, f"x-unix;{text}" if kind.lower().strip() == "x-unix" else text,
                                  command=notice.command_in(said) or notice.command_in(context), comment=comment)
    return BounceRecipient(address, action, status, code, word, hard)


def _codes(text: str) -> tuple[str, str]:
    """Return (reply code, enhanced status) that a text holds; each "" if it holds none."""
    both = _AFTER_CODE.search(text)
    if both:
        return both[1], both[2]
    status, code = _STATUS.search(text), _CODE.search(text)
    return code[1] if code else "", status[1] if status else ""
