"""What a mail is, from its parts: complaint, bounce, automatic answer or a person's message.

Order matters: a feedback report and a delivery report say in a machine's words what they are; a failure notice in prose is recognised by
who sent
it or how it is titled *and* by saying so; what calls itself automatic is automatic; everything else is a person's. When in doubt it is a
message: a bounce taken for a letter costs a reader a second, a letter taken for a bounce costs a person an answer.
"""

from __future__ import annotations

import re

from tocsin.mail.types import BounceRecipient, Classified, InboundKind

from . import dsn, mime, notice, reason

NOT_DELIVERED = frozenset({"failed", "delayed", "expired", "failure", "delay", ""})

_AUTO_SUBJECT = re.compile(
    r"^(?:re: ?)?(?:auto(?:matic(?:ally)?|matische|matique)?[- ]?(?:re(?:ply|sponse|sponder)|antwort|generated)"
    r"|automatische antwort|r.ponse automatique|respuesta autom|risposta automatica"
    r"|out of (?:the )?office|ooo\b|abwesen|away (?:from|until)|on (?:vacation|holiday|leave)|vacation|absence|absent du bureau"
    r"|i am (?:currently )?(?:away|out)|fuera de la oficina)",
    re.IGNORECASE)


def classify(root: mime.Part) -> Classified:
    """Return what the mail is and whom it speaks of. Never raises."""
    complaint = dsn.complaint(root)
    if complaint is not None:
        return Classified(InboundKind.COMPLAINT, tuple(complaint))
    notified = dsn.notification(root)
    if notified is not None:
        return notified
    reported = dsn.report(root)
    if reported:
        told = [r for r in reported if r.action.lower() in NOT_DELIVERED]
        return Classified(InboundKind.BOUNCE, tuple(told)) if told else Classified(InboundKind.AUTO, ())
    auto = automatic(root)
    if not _AUTO_SUBJECT.search(mime.words(root.get("subject"))):
        failures = notice.failures(root)
        if failures:
            return Classified(InboundKind.BOUNCE, tuple(failures))
    return Classified(InboundKind.AUTO if auto else InboundKind.MESSAGE, ())


def automatic(root: mime.Part) -> bool:
    """Return whether a machine wrote the mail and nobody should answer it. Source: RFC 3834 s5, and fields that programs used before it."""
    submitted = root.get("auto-submitted").lower()
    if submitted and not submitted.startswith("no"):
        return True
    if root.get("x-autoreply") or root.get("x-autorespond") or root.get("x-autoresponder") or root.get("x-auto-reply"):
        return True
    if root.get("precedence").lower() in {"auto_reply", "auto-reply", "bulk", "list",
    "junk"} or root.get("list-id") or root.get("list-unsubscribe"):
        return True
    if root.get("return-path") == "<>" or "mailer-daemon" in root.get("from").lower():
        return True
    return bool(_AUTO_SUBJECT.search(mime.words(root.get("subject"))))


def reply_reason(code: int, enhanced: str, text: str) -> tuple[str, bool]:
    """Return (reason, hard) of a synchronous SMTP reply as an Outcome shows it, with the command it answered at its end."""
    words, found, command = text.rpartition(" (in reply to ")
    if not found:
        words, command = text, ""
    return reason.reason_of(str(code) if code else "", enhanced, words, command=command.rstrip(")").rpartition(" ")[2])


def recipient(address: str, action: str, status: str, code: str, text: str, *, command: str = "") -> BounceRecipient:
    """Return a classified recipient of a report."""
    word, hard = reason.reason_of(code, status, text, command=command)
    return BounceRecipient(address, action, status, code, word, hard)
