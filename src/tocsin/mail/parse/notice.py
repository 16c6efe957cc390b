"""Failure notices in prose: who sent them, where the returned message begins, whom they name and what is said about each.

Programs differ in their words, hardly in their layout. An address heads a line (bare, in angle brackets, quoted, or as the field
"Recipient:"), what
follows until the next such line or an empty line is about it. So the rules are about layout, and a table of phrases that announce
a failure is only asked whether the mail is a notice at all.
"""

from __future__ import annotations

import re

from tocsin.mail.types import BounceRecipient

from . import mime, reason

PROSE_CHARS_MAX = 20_000
RECIPIENTS_MAX = 200
ABOUT_LINES_MAX = 12

_MACHINE = re.compile(r"mailer[-_. ]?daemon|post[-_. ]?master|mail[-_. ]deliver|deliver\w* (?:sub)?system|system administrator"
      r"|mail administrator|mail ?system|mdaemon", re.IGNORECASE)
_SUBJECT = re.compile(r"undeliver|non[- ]?deliver|deliver\w* (?:status|fail|problem|error|notif|report|has failed|delay"
      r"|subsystem)|(?:mail|message|e-?mail)\W{1,3}(?:\w+ ){0,3}(?:fail|returned|not (?:be )?deliver|could not|error|system error"
      r"|undeliver)"
                      r"|return(?:ed|ing) (?:mail|message|to sender)|fail(?:ure|ed)? (?:notice|delivery|to deliver)|mail failure"
                      r"|error sending|could not (?:be delivered|send)|loop alert|warning: (?:message|could not)|unzustellbar"
                      r"|nicht zugestellt|non (?:remis|distribu)"
                      r"|no entregado|mail error|unknown user|user unknown|address .{0,20}(?:not|invalid)|undelivered"
                      r"|rejected", re.IGNORECASE)
_SAYS_SO = re.compile(r"(?:not|n't|unable to|could ?n.t|cannot|failed to|failure to|trouble) (?:be |have been |to )?(?:deliver"
      r"|reach|send|process|complet)|undeliver|deliver\w*[^.\n]{0,40}(?:fail|delay|abort|problem|error|unsuccessful|not possible)"
      r"|(?:fail|error|problem)\w*[^.\n]{0,40}deliver"
                      r"|permanent (?:fatal )?error|fatal errors|returned to (?:sender|you)|returning (?:message|mail) to sender"
                      r"|was rejected|were rejected|did not reach|invalid (?:user|recipient|address)|user unknown|unknown user"
                      r"|over quota|mailbox (?:is )?full|too many hops|delivery error|smtp error|address(?:es)? (?:failed|had)"
                      r"|not delivered|smtp server <"
                      r"|failure reasons|duplicated message-id|error message below|had (?:delivery|transient)|generated (?:from"
                      r"|response)|bounced|<<< [45]\d\d|remote host said|mail delivery subsystem", re.IGNORECASE)
# Where the copy of the returned message begins.
_COPY = re.compile(
    r"^[ \t>]*(?:-{2,}[ \t]*(?:below|this is|the header|the body|original|unsent|returned|copy|begin|transcript of message|a copy"
    r"|message header|undelivered|enclosed|nachfolgend|start of)\b"
    r"|(?:below|the following|here|attached|this|enclosed) (?:this line )?(?:is|are|follows?) (?:an? |the )?(?:copy|complete"
    r"|first|header|original|beginning)"
    r"|(?:your |the )?(?:original |returned |message |undelivered )?(?:message|mail|headers?|text)(?: headers?| text"
    r"| content)? (?:follows?|was|is)[ .:]*$"
    r"|(?:message|original) headers? follow|(?:----+|\*\*\*+)[ \t]*(?:original|returned|unsent|undelivered|forwarded|your)"
    r"|message details:|={3,}[ \t]*original|received: ?from )",
    re.IGNORECASE | re.MULTILINE)
_ADDR = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?"
_HEADS = re.compile(
    rf"^[ \t>*]*(?:(?:recipient|to|address|rcpt to|original recipient|final recipient|"
    rf"failed recipient|e-?mail|mailbox|<<< \d{{3}}[ -][\d.]*|[45]\d\d[ -](?:[\d.]+ )?)[ \t]*:?[ \t]*)?[<\"'(\[]?({_ADDR})[>\"')\]]*"
    rf"[ \t]*(?:$|[:;,]|\.\.\.|-|\[|\(|invalid|on \w|is |was |has |could"
    r"|unknown|user|not |rejected|does|\d{3}[ -])", re.IGNORECASE)
_NAMED = re.compile(rf"(?:undeliverable to|(?:deliver\w*|send\w*|transmit\w*)(?: your| the| a| this)?"
                    rf"(?: mail| message| e-?mail)?(?: dated [^\n]{{1,60}})? to(?: the following \w+)?:?|recipients? returned \w+ errors:"
                    rf"|recipient\(?s?\)?:|failed for|gateway for|user|mailbox|for|rcpt to:?"
                    rf"|following addresses?:?|empf.nger:?)\s+[<\"'(]?({_ADDR})",
                    re.IGNORECASE)
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?:^|[\s:(\[<'\"#=])([45]\d\d)(?=[\s\-:;,.)\]'\"]|$)(?!\.\d)")
_REPLY = re.compile(r"(?:<<< |[>:\]][ \t]*(?=[45]\d\d[ -])|said: ?|responded: ?|replied: ?|error:? ?|response:? ?"
      r"|answer(?:ed)?:? ?|failure: ?|message: ?\[?|generated:? ?|was:? ?|host \S+ \[[\d.:a-f]+\]: ?"
      r"|^[ \t]*)([45]\d\d[ -:]{1,3}[^\n]{2,}(?:\n[ \t]*(?:<<< )?(?:[45]\d\d[ -]|[a-z(<])[^\n]*){0,8})", re.IGNORECASE | re.MULTILINE)
_COMMAND = re.compile(r"(?:smtp:|after|in reply to|>>>|response to|our|refused to accept your message \("
      r"|command:?) ?(?:the )?(?:end of )?\(?(RCPT|MAIL|DATA|HELO|EHLO|end of data)\b|after (?:end of data|\.)", re.IGNORECASE)


def returned(root: mime.Part) -> mime.Part | None:
    """Return the message that came back, or its head, or None."""
    for part in root.walk():
        if part.media in {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/partial"}:
            return mime.parse(part.content)
    found = _COPY.search(root.text) if not root.children else None
    if found:
        rest = root.text[found.start():]
        head = re.search(r"^(?:return-path|received|from|to|subject|date|message-id|x-[\w-]+"
        r"|mime-version)[ \t]*:", rest, re.IGNORECASE | re.MULTILINE)
        if head:
            return mime.parse(rest[head.start():].encode("utf-8", "surrogateescape"))
    return None


def prose(root: mime.Part) -> str:
    """Return what the notice itself says, without the returned message."""
    said = []
    stack = [root]
    while stack:
        part = stack.pop(0)
        if part.children:
            stack = [*part.children, *stack]
        elif part.media == "text/plain" or (part is root and not part.media.startswith("text/")):
            said.append(part.text)
        elif part.media == "text/html" and not said:
            said.append(mime.plain(part.text))
        if said and sum(map(len, said)) > PROSE_CHARS_MAX:
            break
    text = "\n".join(said[:2])[:PROSE_CHARS_MAX]
    found = _COPY.search(text)
    return text[:found.start()] if found and found.start() > 20 else text


def about(text: str, address: str) -> str:
    """Return the lines that speak of an address: from its first mention to the next empty line or other address."""
    if not address:
        return ""
    lines = text.split("\n")
    out: list[str] = []
    for i, line in enumerate(lines):
        if address.lower() not in line.lower():
            continue
        out.append(line)
        if re.match(r"[ \t]*[45]\d\d[ -]", line):
            continue  # a line of a transcript stands for itself
        for following in lines[i + 1:i + ABOUT_LINES_MAX]:
            if not following.strip() and len(out) > 1:
                break
            other = _HEADS.match(following)
            if other and other[1].lower() != address.lower():
                break
            out.append(following)
    return "\n".join(out)[:reason.TEXT_CHARS_MAX]


def reply_in(text: str) -> str:
    """Return the last SMTP reply that prose quotes, or ""."""
    found = _REPLY.findall(text)
    return str(found[-1]) if found else ""


def command_in(text: str) -> str:
    """Return the SMTP command that prose says was refused: the last one it names, or ""."""
    found = ""
    for match in _COMMAND.finditer(text):
        found = (match[1] or "DATA").upper()
    return "DATA" if found == "END OF DATA" else found


def failures(root: mime.Part) -> list[BounceRecipient]:
    """Return whom a failure notice names, with what it says; empty if the mail is no notice."""
    subject = mime.words(root.get("subject"))
    titled = bool(_SUBJECT.search(subject))
    daemon = bool(_MACHINE.search(mime.words(root.get("from"))) or root.get("x-failed-recipients"))
    path = root.get("return-path").replace(" ", "").lower()
    null_path = path == "<>" or "mailer-daemon" in path
    if not (daemon or titled or null_path):
        return []
    text = prose(root)
    says_so = bool(_SAYS_SO.search(text))
    quotes = bool(_CODE.search(text) or _STATUS.search(text))
    # One sign alone is never enough: answering machines use the null path too, people forward and quote notices, and a postmaster may
    # write.
    if daemon:
        wanted = (says_so and (titled or null_path or quotes or returned(root) is not None)) or (titled and (null_path or quotes))
    elif null_path:
        wanted = says_so and (titled or quotes or returned(root) is not None)
    else:
        wanted = titled and says_so and _looks_returned(root, text)
    if not wanted:
        return []
    people = _people(root, text)
    blocks = {}
    for address in people[:RECIPIENTS_MAX]:
        context = about(text, address) if len(people) > 1 else text
        quoted = reply_in(context)
        blocks[address.lower()] = _recipient(address, context, quoted, root, alone=len(people) == 1)
    return list(blocks.values())


def _looks_returned(root: mime.Part, text: str) -> bool:
    """Return whether a notice without a machine's sender carries a transcript or a returned message: a person's complaint has neither."""
    return returned(root) is not None and bool(_CODE.search(text) or re.search(r"<<< |fatal errors|did not reach|loop alert"
    r"|duplicated message-id|could not be delivered|unable to deliver", text + root.get("subject"), re.IGNORECASE))


def _people(root: mime.Part, text: str) -> list[str]:
    listed = [a for _, a in mime.addresses(root.get("x-failed-recipients"))]
    if listed:
        return list(dict.fromkeys(listed))
    ours = {a.lower() for _, a in mime.addresses(root.get("to"))} | {a.lower() for _, a in mime.addresses(root.get("from"))}
    found: dict[str, str] = {}
    for line in text.split("\n"):
        head = _HEADS.match(line)
        if head and not re.match(r"[ \t>]*(?:from|sender|reply-to|cc|mail from|contact|please)\b", line, re.IGNORECASE):
            found.setdefault(head[1].lower(), head[1])
    strangers = [a for a in found.values() if a.lower() not in ours]
    if strangers:
        return strangers
    for pattern in (_NAMED, re.compile(rf"<({_ADDR})>"), re.compile(rf"\b({_ADDR})")):
        named = [m for m in pattern.findall(text) if m.lower() not in ours and not _MACHINE.search(m)]
        if named:
            return [named[0]]
    back = returned(root)
    if back is not None:
        to = [a for _, a in mime.addresses(back.get("x-envelope-to") or back.get("to"))]
        if to:
            return to[:1]
    return list(found.values())[:1] or [""]


def _recipient(address: str, context: str, quoted: str, root: mime.Part, *, alone: bool) -> BounceRecipient:
    status = _STATUS.search(quoted) or _STATUS.search(context)
    code = _CODE.search(quoted) or _CODE.search(context)
    enhanced, number = status[1] if status else "", code[1] if code else ""
    subject = mime.words(root.get("subject"))
    waits = re.search(r"delay|warning|will (?:keep|continue|be retried)|temporary failure|not yet"
    r"|still (?:being )?try", f"{subject}\n{context}", re.IGNORECASE)
    if not enhanced:
        enhanced = f"{number[0]}.0.0" if number else "4.0.0" if waits else "5.0.0"
    text = f"{quoted}\n{context}" if not quoted or len(quoted) < 12 else quoted
    word, hard = reason.reason_of(number, "" if not status else enhanced, text, command=command_in(context))
    if word in {"onhold", "undefined", "filtered"} and quoted:
        again, hard_again = reason.reason_of(number, enhanced if status else "", f"{context}\n{subject}", command=command_in(context))
        word, hard = (again, hard_again) if again not in {"onhold", "undefined"} else (word, hard)
    return BounceRecipient(address, "delayed" if waits and enhanced[0] == "4" else "failed", enhanced, number, word, hard)
