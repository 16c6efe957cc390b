"""What a refusal means: reply code, enhanced status and text to a reason word, and whether the address is of no more use.

Order of evidence: texts first, because half of all servers answer a bare 550 or a status that says less than their words; then the status
(RFC 3463, RFC 7505, RFC 8617 and the IANA registry); then the class. A rule is a pattern of words that servers and mail programs use for
one
thing; the first that fits wins, so the specific stand before the general. Words of one meaning are in one rule, whatever the language.

"Hard" is said only of what stays true: no such mailbox, no such domain, moved away, a domain that takes no mail. A full mailbox, a
disabled account, a filter, a policy, a black list: all soft, because a wrong "hard" costs a person their notice.
"""

from __future__ import annotations

import re

HARD = frozenset({"userunknown", "hostunknown", "hasmoved"})
TEXT_CHARS_MAX = 2000


def _compiled(*patterns: str) -> re.Pattern[str]:
    """Return one pattern over lower-case text; "[^.;\\n]" in it means: within the sentence, where a dot inside a name ends none."""
    return re.compile("|".join(patterns).replace(r"[^.;\n]", r"(?:[^.;]|\.(?=\S))").replace("RecipNotFound", "recipnotfound"))


def _rule(reason: str, *patterns: str) -> tuple[str, re.Pattern[str]]:
    return reason, _compiled(*patterns)


# What a server says about an address it does not know; also looked for by itself, see `_unknown`.
_UNKNOWN = _compiled(
    r"\b(?:user|recipient|mailbox|account|address|addressee|customer|login|username|member)(?:'s)?(?: name)?\b[^.;\n]{0,60}?"
    r"\b(?:unknown|not known|invalid|not found|not exist|doesn'?t exist|no longer (?:exist|valid|active|in use|available)"
    r"|not valid|nonexist\w*"
    r"|non-exist\w*|not listed|not recogni[sz]ed|not available|unavailable|could not be found|cannot be found|can'?t be found"
    r"|not registered)",
    r"\b(?:unknown|no such|invalid|unrecogni[sz]ed|nonexist\w*|non-exist\w*|bad|no|not a(?:n? (?:valid|known|registered|existing))?)\b"
    r" ?-?(?:local |destination |rcpt |email |e-mail |gateway |smtp |registered |valid )*"
    r"(?:user|recipient|mailbox|account|addressee|address(?:ee)?|local[- ]?part|alias|person|customer|name"
    r"|member)(?!s? (?:of )?(?:sender|from))",
    r"(?:user|recipient|mailbox|account) (?:\S+ )?(?:is )?(?:does not|do not|doesn'?t|not) (?:exist|have an? \S+ account|found)",
    r"doesn'?t have an? \S+ account", r"no (?:such )?(?:mail ?box|mail drop|user|account|person|recipient)\b(?! (?:quota|space))",
    r"this (?:address|user|account|email|mailbox) (?:no longer|does(?: not|n'?t))", r"not our customer here",
    r"(?:recipient|destination)? ?address rejected: (?:access denied|undeliverable|unknown|user|no such)", r"rejected (?:by )?recipient$",
    r"\brecip(?:ient)?notfound\b", r"recipient (?:name )?is not recognized", r"not listed in (?:domino|public|the)",
    r"(?:email|e-mail|mail) address (?:that )?(?:you entered )?(?:couldn'?t|could not|cannot|can not) be (?:found|reached)",
    r"account (?:that )?you tried to reach (?:does not|doesn'?t) exist", r"inactive (?:email )?address",
    r"delivery to this address is restricted to",
    r"adresse?(?: d'?email)? (?:destinataire )?(?:invalide|inconnue)", r"utilisateur inconnu",
    r"(?:usuario|destinatario) (?:desconocido|inexistente)",
    r"unbekannter? (?:empf|benutzer)", r"empf.{1,8}nger (?:unbekannt|existiert nicht)", r"address does ?n.t exist",
    r"has no(?:t)? (?:any )?mailbox",
    r"no mailbox here by that name", r"destination addresses were unknown", r"recipient cannot be verified",
    r"mailbox (?:has )?moved or does",
    r"<<< [45]\d\d[^.;\n]{0,20}no such", r"address rejected\.?(?: \S*)?$",
)

_RULES = (
    _rule("mailboxfull", r"(?:over|exceed\w*|out of|above|beyond|past|full)[^.;\n]{0,40}\b(?:quota|storage|disk ?space"
          r"|mailbox size|allotted)",
          r"quota[^.;\n]{0,40}(?:exceed|full|over)", r"(?:mail ?box|inbox|account|folder|user"
          r"|mail ?drop)[^.;\n]{0,30}\bis (?:\w+ )?full\b", r"mail ?box full",
          r"\boverquota\b", r"over ?quota\b", r"not enough (?:storage )?space", r"(?:insufficient|no) (?:disk |storage )?space(?: for)?",
          r"mailbox (?:size limit|exceeds)", r"too much mail data|mailbox.{0,20}too large",
          r"maximum (?:mailbox )?(?:size|storage)[^.;\n]{0,30}mailbox",
          r"overquota", r"bo.te (?:aux lettres )?pleine", r"postfach (?:ist )?voll", r"buz.n lleno"),
    _rule("virusdetected", r"\bvirus(?:es)?\b[^.;\n]{0,60}", r"\bmalware\b", r"infected (?:message|attachment)", r"\bmcspamsignature\b"),
    _rule("mesgtoobig", r"message (?:is )?too (?:big|large)\b", r"message size (?:limit|exceeds|too)(?!.{0,20}fixed)",
          r"size of (?:this |the )?message.{0,20}(?:exceed|too)",
          r"exceeds? (?:the )?(?:size limit|limit of message size)", r"size limit exceeded", r"line limit exceeded",
          r"mail data too (?:big|large)"),
    _rule("exceedlimit", r"message size exceeds fixed", r"exceeds (?:fixed )?maximum message size",
          r"message (?:length|header size)[^.;\n]{0,30}exceeds", r"message too large for (?:this )?recipient"),
    _rule("requireptr", r"\bptr\b", r"reverse (?:dns|lookup|mapping|name)", r"\brdns\b", r"reverse-path dns",
          r"without a valid sender domain",
          r"mismatch\w* client ip", r"cannot (?:resolve|find) your (?:reverse|host ?name)",
          r"(?:ip|client)(?: address)? (?:name )?lookup failed", r"unable to resolve .{0,20}reverse",
          r"no (?:matches to )?nameserver.{0,20}found", r"does not have a (?:valid )?(?:host ?name|reverse)",
          r"fix your (?:reverse|hostname)"),
    _rule("authfailure", r"\bdmarc\b(?! (?:report))", r"\bspf\b",
          r"\bdkim\b(?!-signature)[^.;\n]{0,60}(?:fail|not|miss|requir|invalid|did)", r"unauthenticated (?:e-?mail|mail|message)",
          r"authentication (?:information|results?) (?:or|is|fail|not)", r"does not have authentication information",
          r"sender id[^.;\n]{0,20}fail", r"authentication checks?"),
    _rule("notcompliantrfc", r"duplicate header", r"multiple[^.;\n]{0,40}(?:addresses|headers?) in from",
          r"\brfc[ -]?(?!822)\d{3,4}", r"not rfc", r"violates? (?:the )?rfc", r"missing (?:required )?(?:header|date|from|message-?id)",
          r"bare (?:lf|newline|linefeed)", r"(?:header|from)[^.;\n]{0,40}(?:malformed|not compliant|non-compliant)"),
    _rule("toomanyconn", r"too many (?:simultaneous |concurrent |open )?(?:smtp )?(?:connection|session|recipient)s?",
          r"receiving mail (?:at a rate|too quickly)", r"max\w* messages? per connection", r"too many messages",
          r"connection (?:rate|frequency) ?limit", r"(?:ip|connection) frequency (?:limited|limit)",
          r"connection (?:limit|refused).{0,20}(?:exceeded|too many)", r"concurrent connections",
          r"maximum number of (?:simultaneous )?connections", r"throttl\w+", r"rate limit(?:ed|ing)?(?! due to ip)",
          r"sending too (?:many|much|fast)"),
    _rule("badreputation", r"\[(?:ip)?ts+\d\d\]", r"\breputation\b", r"\bsenderbase\b", r"poor sender"),
    _rule("spamdetected", r"\bspam\b(?!haus|cop)", r"\bjunk ?mail\b", r"\bunsolicited\b", r"\bbulk e?-?mail\b",
          r"message (?:content|was) (?:rejected|refused)", r"content[^.;\n]{0,20}(?:rejected|refused|filter)",
          r"blacklisted (?:url|link)", r"ofr_?506|mail rejet", r"looks like spam", r"\bscored\b", r"\bube\b",
          r"blocked (?:by|due to) (?:our )?(?:content|filter)", r"detected as (?:spam|phish)", r"\bphish\w*"),
    _rule("norelaying", r"insecure mail relay", r"relay(?:ing)?(?: \w+)? (?:access )?(?:denied|prohibited|not (?:allowed"
          r"|permitted|possible)|disallowed|attempt)", r"(?:not (?:allowed|permitted)|unable|refused|denied"
          r"|cannot) (?:to )?relay", r"we do not relay", r"no relay",
          r"that domain isn'?t in my list", r"relay not permitted", r"not a gateway|isn'?t allowed to (?:be )?relay",
          r"mail server requires authentication when"),
    _rule("securityerror", r"auth(?:entication|orization)? (?:is )?(?:required|failed|failure|turned on)", r"authrequired",
          r"unauthenticated senders?", r"\b(?:must|need to) (?:issue|authenticate|log ?in)\b", r"(?:sorry, )?you don'?t authenticate",
          r"starttls", r"\btls\b[^.;\n]{0,30}(?:required|fail|not)", r"credentials? (?:were )?(?:rejected|invalid)",
          r"verification fail\w*[^.;\n]{0,30}certificate", r"not (?:permitted|authori[sz]ed) to (?:send|post|submit|deliver)",
          r"executable|suspicious attachment"),
    _rule("blocked", r"black ?-?list", r"\bblock ?-?list", r"\bdns?bl\b", r"\brbl\b", r"spamhaus", r"spamcop", r"\bsorbs\b",
          r"barracuda", r"\bban(?:ned|s)?\b", r"block(?:ed|ing)?[^.;\n]{0,60}(?:\bip\b|address|client|host|see|using|list|server"
          r"|network)",
          r"(?:client|your) (?:host|ip|server|network)[^.;\n]{0,30}(?:rejected|blocked|denied|refused|listed|not allowed)",
          r"(?:connection|access|connections) (?:refused|denied|rejected|not accepted)[^.;\n]{0,20}(?:from|\bip\b|your)",
          r"use the smtp server of your (?:isp|provider)", r"connections? (?:will )?not (?:be )?accepted from",
          r"\b(?:ip|host|server)(?: address)?[^.;\n]{0,40}\b(?:not (?:allowed|authori[sz]ed|permitted)|blocked|denied"
          r"|listed) (?:to|by|for|in|from)", r"(?:dynamic|generic|residential)[^.;\n]{0,20}(?:ip|hosts?|address)",
          r"temporarily (?:deferred|rate limited|blocked)[^.;\n]{0,60}\bip\b|unexpected volume or user complaints",
          r"refused to talk to me", r"(?:mail|messages?) from \S{0,60}(?:[\d.]{7,}|\bip\b)[^.;\n]{0,40}(?:refused|rejected"
          r"|blocked|deferred)", r"^(?:550|554) ?(?:5\.\d\.\d )?rejected\.?$",
          r"\bbad helo\b|helo[^.;\n]{0,30}(?:reject|invalid|refused|denied)|invalid (?:helo|ehlo)", r"service refused?\b",
          r"we do not accept mail from (?:hosts?|dynamic|your)"),
    _rule("rejected", r"sender(?:'s)?(?: \S+){0,3}? (?:address )?(?:rejected|refused|denied|invalid|unknown|not (?:exist|found"
          r"|accept|allowed|verif)|verify failed|domain)", r"domain of sender", r"(?:unrout\w+|invalid|bad|unknown|unresolv\w+) sender",
          r"mail from[^.;\n]{0,50}(?:rejected|refused|denied|not (?:allowed|accepted|exist)|invalid|unknown)(?! for polic)",
          r"envelope(?:-| )?(?:from|sender)[^.;\n]{0,30}(?:reject|refus|invalid)", r"purported responsible",
          r"from address[^.;\n]{0,40}(?:reject|refus|not allowed|invalid)", r"sender verif\w+",
          r"not (?:accept(?:ed)?|allowed)[^.;\n]{0,20}(?:from )?this sender",
          r"emetteur|absender(?:adresse)? (?:abgelehnt|unbekannt)", r"invalid domain, see",
          r"you are not allowed to (?:send|post)|may not have permission to post", r"posting to this (?:list|group)"),
    _rule("rejected", r"groups\.google\.com"),  # Google Groups: no such group, or not open to us, in the sender's language
    _rule("policyviolation", r"polic(?:y|ies)\b", r"potential(?:ly)? (?:security|unsafe)|presents a potential",
          r"not accepted for policy", r"\bdenied by\b", r"prohibited (?:by|content|file)",
          r"(?:attachment|file)[^.;\n]{0,40}(?:not allowed|blocked|denied|prohibited)", r"you have exceeded (?:the|your)",
          r"administrative(?:ly)? (?:prohibit|refus|reject)"),
    _rule("hasmoved", r"(?:recipient|user|address|mailbox)[^.;\n]{0,30}(?:has moved|no longer on (?:this )?server"
          r"|has been (?:replaced|moved))", r"not our customer", r"(?:new|updated?) e?-?mail address", r"please use (?:the )?\S+@"),
    _rule("suspend", r"(?:account|mailbox|mail ?box|user|recipient|domain|address|email)[^.;\n]{0,50}\b(?:disabled|suspended"
          r"|inactive|deactivated|discontinued|not active|dormant|terminated|frozen|locked out|account closed)\b",
          r"(?:disabled|suspended|inactive|deactivated|discontinued|locked|closed) (?:mail ?box|account|user|recipient|address)",
          r"boite du destinataire .{0,20}(?:archiv|suspend)", r"is not currently (?:active|permitted)|is inactive\b",
          r"has been (?:temporarily )?(?:disabled|suspended|locked|deactivated)", r"vacation (?:disabled|on hold)"),
    _rule("notaccept", r"couldn'?t find (?:a|any) mail exchanger",
          r"(?:host|domain|server)[^.;\n]{0,60}(?:does not|doesn'?t|not|never) (?:accept|receive)(?:ing)? (?:any )?(?:mail"
          r"|e-?mail|message)", r"null ?mx", r"does not accept mail", r"name service error[^.;\n]{0,80}malformed",
          r"smtp protocol(?: \w+){0,3} returned a permanent error", r"mail receiving disabled",
          r"no smtp (?:service|server)(?: here)?", r"all relevant mx records point to non-existent|we don'?t (?:accept|have) mail"),
    _rule("networkerror", r"(?:hop ?count|too many hops|maximum hop|hops? (?:count )?exceeded)",
          r"lost connection|connection (?:was |is )?(?:reset|dropped|broken|lost|closed)",
          r"network (?:is )?(?:error|unreachable|problem)", r"no route to host|host is unreachable|unreachable network",
          r"name server? (?:loop|timeout)|nameserver[^.;\n]{0,20}(?:error|fail|unreach)", r"\bnxdomain\b",
          r"host not found, try again|dns (?:timeout|server (?:fail|returned))|name (?:or )?(?:service"
          r"|server)(?: error)?[^.;\n]{0,60}(?:try again|timed? ?out|temporary)",
          r"host(?: ?name)? lookup (?:failure|failed|did not complete)", r"mx (?:records? )?(?:points? to|loop|mail for)",
          r"unrout\w+ (?:mail )?domain[^.;\n]{0,20}tempor", r"ssl error|bad file descriptor|i couldn'?t find any host"),
    _rule("systemerror", r"mail (?:forwarding |routing )?loop|loop (?:alert|detected|back to)|loops back to (?:my|itself)",
          r"(?:service|system|server)[^.;\n]{0,20}(?:currently |temporarily )?(?:unavailable|not available|busy"
          r"|incorrectly configured|is down|error|failure|problem)",
          r"(?:local|internal|server|temporary|configuration|system|processing|unexpected) (?:server )?(?:configuration )?error",
          r"resources? temporarily unavailable|insufficient system (?:resource|storage)",
          r"can'?t create output|out of memory|cannot (?:fork|append|open)|i/o error", r"aliasing/forwarding loop broken",
          r"timeout waiting for input", r"queue file write error"),
    _rule("hostunknown", r"(?:host|domain|server|destination|site)(?: ?name)?\b[^.;\n]{0,60}?\b(?:unknown|not found|not exist"
          r"|doesn'?t exist|invalid|not reachable|cannot be (?:found|resolved)|could not be (?:found|resolved)|couldn'?t be found"
          r"|not resolv\w+|unrouteable|nonexist\w*|non-exist\w*|no(?:t)? (?:have )?(?:an )?(?:mx|a record|mail exchanger))",
          r"(?:unknown|no such|invalid|bad|unresolv\w+|nonexist\w*|illegal) (?:host|domain|destination|mail server|site)\b",
          r"unrout(?:e)?able (?:mail )?(?:domain|address|mail)",
          r"(?:couldn'?t|could not|cannot|can'?t|unable to) (?:find|resolve|locate)[^.;\n]{0,40}(?:host|domain|mx|exchanger)",
          r"can'?t be resolved|no address associated with|not (?:a )?valid (?:host|domain)", r"5\.1\.2\b", r"no mx or a for"),
)
_LATE = (
    _rule("securityerror", r"access denied"),
    _rule("expired", r"(?:timed?|connection|operation|connect)[- ]?(?:timed )?out\b", r"\bexpired\b|\bexpiration\b",
          r"(?:could not|not|cannot|unable to) be? ?(?:delivered|deliver)[^\n]{0,30}(?:for|within|after|in) \d+(?:\.\d+)? ?(?:day"
          r"|hour|minute|h\b|d\b)", r"retry (?:timeout|time) ?(?:exceeded|not reached)?",
          r"(?:delayed|queue)[^.;\n]{0,40}(?:too long|day|hours?)", r"failed (?:after )?\d+ attempts",
          r"give(?:n)? ?up|giving up|too long in the queue|been in the queue",
          r"did not accept our requests to connect|connection refused|could not (?:find a gateway|connect)|unable to connect"
          r"|cannot connect|not (?:yet )?been delivered|will (?:keep|continue) trying|delivery (?:attempts?"
          r"|time)[^.;\n]{0,30}(?:exceed|expired|aborted)|was aborted after|undelivered for|message could not be delivered for"
          r"|connection (?:attempt )?fail\w*|server (?:did not|not) respond\w*|is not responding|temporarily unable to deliver"),
    _rule("mailererror", r"\bx-unix;|procmail|mail delivery agent|mailer\b|\bpipe\b|command (?:failed|died|output|line|time)"
          r"|local delivery|exit (?:code|status)|process (?:failed|returned)|(?:can'?t|couldn'?t|could not|unable to) (?:create"
          r"|open|exec|write|lock)|permission denied|unknown mailer|no such file"),
    _rule("contenterror", r"headers? too (?:large|long|many)|malformed (?:mime|header|content)|improper use of 8|mime (?:error"
          r"|bomb)|line too long|conversion (?:failed|required)|invalid (?:mime|character)"),
    _rule("syntaxerror", r"improper sequence|bad sequence|syntax error|command (?:not )?(?:unrecogni[sz]ed|recogni[sz]ed"
          r"|implemented|parameter|out of sequence)|unknown command|nested mail|need (?:rcpt|mail)|protocol error"
          r"|invalid (?:parameter|argument)|must (?:issue|have)"),
    _rule("filtered", r"refused due to recipient preferences|due to (?:extended inactivity|recipient)|(?:recipient"
          r"|user)[^.;\n]{0,30}(?:refuses|only accepts|blocked|rejected|does not accept)|delivery (?:restricted|restrictions)"
          r"|domain filter|resolver\.rst|recipient (?:server|policy)|sender (?:filter|is not allowed)"),
)

# RFC 3463 and the IANA registry of enhanced status codes: class apart, what the subject and detail say.
_BY_STATUS = {
    "1.0": "userunknown", "1.1": "userunknown", "1.2": "hostunknown", "1.3": "userunknown", "1.4": "filtered", "1.5": "",
    "1.6": "hasmoved", "1.7": "rejected", "1.8": "rejected",
    "1.9": "systemerror", "1.10": "notaccept", "2.0": "filtered", "2.1": "suspend", "2.2": "mailboxfull", "2.3": "exceedlimit",
    "2.4": "filtered", "3.0": "systemerror",
    "3.1": "systemerror", "3.2": "systemerror", "3.3": "systemerror", "3.4": "mesgtoobig", "3.5": "systemerror",
    "4.0": "networkerror", "4.1": "expired", "4.2": "networkerror",
    "4.3": "systemerror", "4.4": "notaccept", "4.5": "systemerror", "4.6": "networkerror", "4.7": "expired",
    "4.8": "networkerror", "4.9": "networkerror", "4.10": "networkerror",
    "5.0": "syntaxerror", "5.1": "syntaxerror", "5.2": "syntaxerror", "5.3": "toomanyconn", "5.4": "syntaxerror",
    "5.5": "syntaxerror", "6.0": "contenterror", "6.1": "contenterror",
    "6.2": "contenterror", "6.3": "contenterror", "6.4": "contenterror", "6.5": "contenterror", "6.6": "contenterror",
    "6.7": "contenterror", "6.8": "contenterror", "6.9": "contenterror",
    "7.0": "policyviolation", "7.1": "filtered", "7.2": "policyviolation", "7.3": "securityerror", "7.4": "securityerror",
    "7.5": "securityerror", "7.6": "securityerror", "7.7": "securityerror",
    "7.8": "securityerror", "7.9": "policyviolation", "7.10": "securityerror", "7.11": "securityerror", "7.12": "securityerror",
    "7.13": "suspend", "7.14": "securityerror", "7.15": "blocked",
    "7.16": "policyviolation", "7.17": "hasmoved", "7.18": "hasmoved", "7.20": "authfailure", "7.21": "authfailure",
    "7.22": "authfailure", "7.23": "authfailure", "7.24": "authfailure",
    "7.25": "requireptr", "7.26": "authfailure", "7.27": "notaccept", "7.28": "toomanyconn", "7.29": "authfailure",
    "7.30": "securityerror",
}
# Where the text says nothing, a generic status says less than silence: these are only taken when nothing else was found.
_VAGUE = frozenset({"1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "7.1"})
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")


def reason_of(code: str, status: str, text: str, *, command: str = "", comment: str = "") -> tuple[str, bool]:
    """Return (reason, hard). `code`: three digits or ""; `status`: "5.1.1" or ""; `command`: the SMTP command that was refused, if known.

    `comment`: what the reporting program itself adds to the status.
    """
    text = " ".join(text.split())[:TEXT_CHARS_MAX].lower()
    # Addresses and the paths of links name people and pages, not reasons; a multi-line reply repeats its code inside sentences.
    text = _ADDRESS.sub("@", _LINK.sub(r"\1", text))
    text = _OWN_VERDICT.sub("", text)
    text = text[:4] + _CODE_AGAIN.sub(" ", text[4:])
    reason = _reason(code, status, text, command.upper(), comment.lower())
    text = text or comment.lower()
    permanent = status.startswith("5") or (not status and not code.startswith("4"))
    return reason, reason in HARD or (reason == "notaccept" and permanent)


def _reason(code: str, status: str, text: str, command: str, comment: str) -> str:
    detail = status[2:]
    if detail in _EXACT:
        return _BY_STATUS[detail]
    for reason, pattern in _FIRST:
        if pattern.search(text):
            return reason
    if text.startswith("x-unix;"):
        return "mailererror"
    suspended = detail[:2] != "1." and (_SUSPENDED.search(text) or "disabled" in comment)
    if suspended:
        return "suspend"
    if _UNKNOWN.search(text) and not _SENDER.search(text):
        return "userunknown" if _at_recipient(code, detail, text, command, comment) else "filtered"
    for reason, pattern in _RULES:
        if pattern.search(text):
            return reason
    if detail not in _VAGUE and _BY_STATUS.get(detail):
        return _BY_STATUS[detail]
    for reason, pattern in _LATE:
        if pattern.search(text) or (comment and pattern.search(comment)):
            return reason
    if command == "MAIL":
        return "rejected"
    if _BY_STATUS.get(detail):
        return _BY_STATUS[detail]
    if code.startswith("4") or status.startswith("4"):
        return "onhold"
    return {"550": "filtered", "551": "hasmoved", "552": "mailboxfull", "553": "rejected", "554": "filtered", "500": "syntaxerror",
            "501": "syntaxerror", "502": "syntaxerror", "503": "syntaxerror", "504": "syntaxerror", "521": "notaccept",
            "556": "notaccept"}.get(code, "onhold" if text else "undefined")


def _at_recipient(code: str, detail: str, text: str, command: str, comment: str) -> bool:
    """Return whether "no such user" is confirmed: by the status, or because it answered RCPT, or because it is our side's own directory.

    Said later, to the content, or with a status of policy or filter, it is what a user's filter says to senders it does not want: not hard.
    """
    if detail.startswith("1."):
        return True
    if command == "DATA" or _LATE_STAGE.search(text):
        return False
    if command == "RCPT" or "rejected address" in comment or "address not found" in comment or (not code and _OWN_DIRECTORY.search(text)):
        return True
    return bool(_RCPT_WORDS.search(text)) and (detail != "7.1" or "invalid recipient" in text)


_OWN_DIRECTORY = re.compile(r"not listed in|is not recogni[sz]ed|address not found|unknown recipient|no such (?:address"
      r"|recipient)|could ?n.t be found")
_RCPT_WORDS = re.compile(r"(?:recipient|destination)s? address rejected|invalid recipient|adresse destinataire invalide|rcpt to|\[rcpt")
_ADDRESS = re.compile(r"[^\s<>:;,()\[\]\"']*@[^\s<>:;,()\[\]\"']+")
_LINK = re.compile(r"https?://(?:www\.)?([^\s/<>?]+)[^\s<>]*")
_CODE_AGAIN = re.compile(r" [45]\d\d[- ](?:[45]\.\d{1,3}\.\d{1,3} )?")
_OWN_VERDICT = re.compile(r"^[45]\.\d\.\d - [a-z ]{1,60} (?=\d{3}[- ])")  # Amazon SES puts its own before the server's words
_EXACT = frozenset({"2.2", "1.6", "7.13", "7.25", "7.26", "7.27", "1.8", "1.7", "2.3", "3.4", "4.6"})
_LATE_STAGE = re.compile(r"(?:after|in reply to|response to|end of) (?:the )?(?:end of )?\.?data\b|>>> ?(?:data|\.)\s|\(data\)"
      r"|in reply to end of|for text command")
_SENDER = re.compile(r"(?:sender|mail from|from)(?: \S+){0,4}? (?:address )?(?:rejected|unknown|invalid|not exist|does not exist"
      r"|verify failed)"
                     r"|(?:invalid|unknown|bad|unroutable) sender|domain of sender")
_FIRST = (*_RULES[:2], _rule("filtered", r"(?:recipient|e-?mail) preferences"), _rule("networkerror",
      r"hop ?count|too many hops|maximum hop"))
_SUSPENDED = next(pattern for reason, pattern in _RULES if reason == "suspend")
