"""In which words practice providers answer: a style each, after the manner of a large receiver, in words of our own.

What is kept of the originals is what programs go by: reply codes, enhanced codes or their absence, one line or several, the marks in
brackets ([TSS04], S775), and which of them closes the connection. The rest was written for the drill.
Source of these facts: replies published by large receivers and collected by senders, as of 2026-11; RFC 3463.

Texts are formatted with `address`, `domain`, `seconds` and `ticket`. A reply that begins with 421 closes the connection.
"""

from __future__ import annotations

Texts = tuple[tuple[str, ...], ...]  # one of them is chosen by the address; each is one or several lines
SITUATIONS = ("unknown", "full", "greylist", "throttle", "limit", "refused")

PLAIN: dict[str, Texts] = {
    "unknown": (
        ("550 5.1.1 There is no mailbox of that name here; please look for a slip of the pen in the address",),
        ("550 No such mailbox at this site",),
        ("550-5.1.1 We looked for the account you wrote to and did not find it.",
         "550-5.1.1 Check the spelling of the address, and that no blank has crept in.", "550 5.1.1 practice ticket {ticket}"),
        ("554 delivery error: dd This site has no account for that address [-9] - {ticket}.practice.example",),
        ("550 5.2.1 The account exists but has been closed by its owner. {ticket}",),
    ),
    "full": (
        ("552 5.2.2 The mailbox has no room left; its owner must clear it first. {ticket}",),
        ("552 Mailbox full, message not taken",),
    ),
    "greylist": (
        ("450 4.2.0 First letter from you to this mailbox: greylisted, please come again in {seconds} seconds",),
        ("450-4.7.1 We have not met before.", "450 4.7.1 Try again in {seconds} seconds and the letter will be taken ({ticket})"),
        ("450 Recipient is busy, try again later",),
    ),
    "throttle": (
        ("421 4.7.0 [TSS04] More mail from your address than we expected; deferred for now. {ticket}",),
        ("421 4.7.28 Unusual rate of mail from your address; slow down and come back",),
        ("421 Letters from your address are deferred for the moment - {ticket}",),
    ),
    "limit": (
        ("421 4.7.0 Enough messages on this connection; closing it, open another",),
        ("421 Limit of messages per connection reached, closing the channel",),
    ),
    "refused": (
        ("550 5.7.1 The content of this message is not wanted here. {ticket}",),
        ("554 Message turned away by a rule of this site ({ticket})",),
    ),
}  # fmt: skip
GOOGLE: dict[str, Texts] = {
    "unknown": (
        ("550-5.1.1 No account of ours has the address you wrote to. Look it over for",
         "550-5.1.1 misspellings and for blanks that do not belong. More at",
         "550 5.1.1 https://post.example/help?p=NoSuchUser {ticket} - psmtp"),
        ("550 5.2.1 The account you wrote to has been disabled. https://post.example/help?p=DisabledUser {ticket} - psmtp",),
    ),
    "full": (
        ("452-4.2.2 The account you wrote to is over its quota. Ask its owner to look at",
         "452 4.2.2 https://post.example/help?p=OverQuotaTemp {ticket} - psmtp"),
        ("552 5.2.2 The account you wrote to is over its quota. https://post.example/help?p=OverQuotaPerm {ticket} - psmtp",),
    ),
    "greylist": (("451 4.3.0 The server does not take this message for now. {ticket} - psmtp",),),
    "throttle": (
        ("421-4.7.28 [192.0.2.1 15] Mail nobody asked for has come from your address at an",
         "421-4.7.28 unusual rate. For the sake of our users its rate is limited for now.",
         "421 4.7.28 https://post.example/help?p=UnsolicitedRateLimitError {ticket} - psmtp"),
        ("450 4.2.1 The user you write to gets mail faster than more of it can be delivered; send it again later. {ticket} - psmtp",),
    ),
    "limit": (("421 4.7.0 Too many messages on one connection, closing. {ticket} - psmtp",),),
    "refused": (
        ("550-5.7.1 [192.0.2.1 12] This message looks like one that nobody asked for. To keep",
         "550-5.7.1 such mail from our users it has been blocked.",
         "550 5.7.1 https://post.example/help?p=UnsolicitedMessageError {ticket} - psmtp"),
    ),
}  # fmt: skip
YAHOO: dict[str, Texts] = {
    "unknown": (
        ("554 delivery error: dd This person doesn't have a {domain} account ({address}) [-5] - mta{ticket}.post.example",),
        ("554 delivery error: dd The mailbox {address} is no longer active. [-20] - mta{ticket}.post.example",),
        ("552 1 Requested mail action aborted, no such mailbox",),
    ),
    "full": (("552 1 Requested mail action aborted, the mailbox is over its quota - mta{ticket}.post.example",),),
    "greylist": (("451 Message put off for now - [170]",), ("451 4.3.2 Internal fault, please try again [#4.16.1]",)),
    "throttle": (
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 put off: more of them, or more complaints, than expected - {ticket}; "
         "see https://post.example/error-codes",),
    ),
    "limit": (("421 Most messages per connection reached, closing transmission channel",),),
    "refused": (("554 Message not allowed - [PH01] Mail not taken for reasons of policy. See https://post.example/error-codes",),),
}  # fmt: skip
MICROSOFT: dict[str, Texts] = {
    "unknown": (
        ("550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [{ticket}.practice.prod.protection.post.example]",),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; no recipient {address} was found by looking up the address",),
    ),
    "full": (("552 5.2.2 The mailbox of the recipient is full. [{ticket}.practice.prod.protection.post.example]",),),
    "greylist": (("451 4.7.500 Server busy. Please come again later from [192.0.2.1]. (S77714) [{ticket}]",),),
    "throttle": (("451 4.7.650 The mail server [192.0.2.1] is held to a lower rate for the sake of its reputation. (S775) [{ticket}]",),),
    "limit": (("421 4.4.2 Connection closed after as many messages as it may carry [{ticket}]",),),
    "refused": (("550 5.7.1 Messages from [192.0.2.1] are not taken: part of its network is on our block list (S3150). [{ticket}]",),),
}
APPLE: dict[str, Texts] = {
    "unknown": (("550 5.1.1 <{address}>: user does not exist",), ("550 5.1.6 <{address}>: recipient no longer on server",)),
    "full": (("552 5.2.2 <{address}>: user is over quota",),),
    "greylist": (("450 4.7.1 <{address}>: recipient not taken for now, please try again",),),
    "throttle": (("421 4.7.1 Connections from 192.0.2.1 are put off for now ({ticket})",),),
    "limit": (("421 4.7.0 No more messages on this connection",),),
    "refused": (("550 5.7.1 [CS01] Message turned away for reasons of local policy ({ticket})",),),
}
STYLES: dict[str, dict[str, Texts]] = {"plain": PLAIN, "google": GOOGLE, "yahoo": YAHOO, "microsoft": MICROSOFT, "apple": APPLE}
