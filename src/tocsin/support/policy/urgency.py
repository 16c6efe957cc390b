"""Which mails must reach skilled people first and are never answered in bulk. Recall first: a wrong alarm costs a minute.

The regular expressions see the person's own words and the subject; the classifier's urgent questions are added to them (union).
Source of the classes: docs of the desk; of the union: measured, the expressions alone find half of what the union finds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# In the order in which they are served; all before what is not urgent.
KINDS = (
    "self_harm", "threat", "fraud_now", "account_taken", "extortion", "minor", "regulator", "lawyer", "data_request", "researcher",
    "journalist", "employee",
)  # fmt: skip
RANK = {kind: n for n, kind in enumerate(KINDS)} | {"": len(KINDS)}

_PATTERNS: dict[str, tuple[str, ...]] = {  # alternatives, several on a line
    "self_harm": (
        r"kill(?:ing)? my ?self|suicid|end (?:my|it) (?:life|all)|want to die|harm(?:ing)? my ?self|no reason to live",
        r"better off dead|take my (?:own )?life",
    ),
    "threat": (
        r"\bi(?:'| wi)ll (?:kill|hurt|find|shoot|burn|bomb) (?:you|your|them)|\bbomb\b|know where you (?:live|work)",
        r"(?:he|she|my (?:ex|husband|wife|partner))[^.!?\n]{0,60}(?:find me|knows? where i live|threaten|stalk|kill)",
        r"stalk(?:er|ing|ed)|restraining order|\bdeath threat|in danger\b|witness protection|domestic (?:violence|abuse)",
        r"fear for my (?:life|safety)|come (?:for|after) you",
    ),
    "fraud_now": (
        r"fraud|(?:somebody|someone|a stranger|thie(?:f|ves))[^.!?\n]{0,40}"  # one alternative over two lines
        r"\b(?:order|shop|buy|bought|pay|paid|spen[dt]|us(?:e|ing)|charg|debit|withdr|steal|empt|drain)",
        r"unauthori[sz]ed|(?:did ?n[o']?t|did not|never) (?:make|order|buy|bought|ordered|authori[sz]e|place|placed|purchase)",
        r"strange (?:charge|order|payment|transaction)",
        r"(?:unknown|suspicious|fraudulent|false) (?:charge|order|payment|transaction|purchase|withdrawal)",
        r"charges? (?:on|to|against) my",
        r"(?:money|funds|dollars?|euros?)[^.!?\n]{0,40}(?:gone|missing|taken|stolen|withdrawn|disappeared|vanished)",
        r"(?:is|are|was|were|been) (?:being )?(?:using|charged|used)\b[^.!?\n]{0,40}(?:card|account|name)",
        r"(?:card|account)[^.!?\n]{0,30}(?:was|is|been|being) (?:being )?(?:used|charged|emptied|drained|debited)",
        r"(?:used|using|charged|emptied|drained|debited) my (?:card|account|bank)|identity (?:theft|was stolen|has been stolen)",
        r"stole my identity|(?:loan|credit|account)s? (?:opened )?in my name|not (?:made )?by me|wasn[’']?t me|not me who",
    ),
    "account_taken": (
        r"hacked|hijack|taken? over|took over",
        r"(?:somebody|someone|a stranger|hacker|thie(?:f|ves))[^.!?\n]{0,60}"  # one alternative over two lines
        r"(?:changed|logged|signed|inside|entered|got in|into|accessed|access to|altered|deleted|replaced)",
        r"(?:e-?mail|address|password|phone)[^.!?\n]{0,40}(?:was|has been|were|been|got) (?:changed|altered|replaced|swapped)",
        r"locked out of my|not me\b|log-?ins? (?:that )?(?:i|from)[^.!?\n]{0,40}(?:not|n.t|unknown|strange)",
        r"(?:i )?(?:never|did ?n[o']?t) (?:ask(?:ed)?|request(?:ed)?)[^.!?\n]{0,30}(?:reset|change|password)",
    ),
    "extortion": (
        r"ransom|bitcoin|\bmonero\b|pay (?:us|me) or",
        r"i (?:have|hold|own) (?:all )?(?:of )?(?:your|the) (?:data|database|files|customers)|i am the (?:hacker|one who)",
        r"we (?:hacked|breached|have your)|blackmail|extort|will (?:publish|leak|sell) (?:the|your|all|it|everything)",
        r"sell(?:ing)? your (?:data|database)|dark ?(?:web|net)",
        r"(?:for sale|posted|leaked|found)[^.!?\n]{0,40}(?:forum|online|telegram|pastebin)",
    ),
    "minor": (
        r"\b(?:my|our|a|the) (?:minor )?(?:child|kid|son|daughter|children|kids|grand(?:son|daughter|child)|minor)\b|under ?age",
        r"\b(?:i am|i'm|is|aged?) (?:only )?(?:[5-9]|1[0-7])(?: years?| y/?o|\b(?=[ ,.]*(?:and|my|years?)))|\bminors?\b",
        r"parental consent|\bcoppa\b",
    ),
    "regulator": (
        r"data protection (?:authority|commission|office|supervis)|supervisory authority|attorney general|\bregulat(?:or|ory)",
        r"(?:information|privacy) commissioner|\bftc\b|\bfbi\b|\beuropol\b|\bico\b|\bcnil\b|\bpolice\b|detective|law enforcement",
        r"secret service|sheriff|consumer protection|official (?:request|inquiry|letter)|ministry|this office\b|\bour office\b",
        r"(?:federal|state) (?:agency|trade commission)",
    ),
    "lawyer": (
        r"\blawyers?\b|\battorneys?\b|\bsolicitors?\b|\bcounsel\b|law firm|lawsuit|\bsu(?:e|ing|mmons)\b|\bsubpoena|litigation",
        r"legal (?:action|notice|claim|hold|proceedings|representation|steps)|class action",
        r"preserv(?:e|ation)[^.!?\n]{0,40}(?:records?|evidence|data|documents|logs)|my client|\bour client",
        r"on behalf of (?:my|our|a|several)|see you in court|take you to court|cease and desist|served?\b[^.!?\n]{0,20}papers",
        r"statutory damages",
    ),
    "data_request": (
        r"\bgdpr\b|\bdsgvo\b|\bccpa\b|\bcpra\b|\bart(?:icle|\.)? ?1[5-9]\b|(?:data )?subject access|\bdsar\b|\bsar\b",
        r"right (?:of|to) (?:access|erasure|be forgotten|know|delet|rectif|portab)|access request",
        r"(?:copy|export|list) of (?:all|every|any|my|the) [^.!?\n]{0,40}(?:data|information|records?)",
        r"(?:send|give|provide)[^.!?\n]{0,30}(?:all|every(?:thing)?)[^.!?\n]{0,40}(?:you (?:hold|have|store|keep)|stored)",
        r"data protection officer|privacy act|my (?:legal )?rights?\b",
        r"under (?:the|your|my|our) [^.!?\n]{0,40}\b(?:law|act|regulation)\b|withdraw my consent",
    ),
    "researcher": (
        r"vulnerabilit|security (?:research|flaw|hole|bug|issue)|\bbug bounty|responsible(?:ly)? disclos|proof of concept",
        r"\bxss\b|sql injection|\bcve-|penetration test|exploit|misconfigur|exposed (?:bucket|database|server)",
    ),
    "journalist": (
        r"journalis|report(?:er|ing for)|\bpress\b(?! (?:the|on|here|any|a|enter|ok|and|it|this|that))|newspaper",
        r"\bnews(?:room| desk| agency| outlet)|\bmedia (?:inquiry|enquiry|request)|request for comment",
        r"statement (?:before|for|by|from)|\bmy deadline|\bon (?:deadline|the record)|interview|\beditor\b|broadcast|\bpodcast\b",
        r"write (?:for|about the (?:incident|breach))|television|\btv\b station|\bblogger\b",
    ),
    "employee": (
        r"i (?:work|worked) (?:for|at|with) (?:you|your|the company)|(?:your|a|an|former|ex-?|as an?) ?employee",
        r"my (?:payroll|pay ?slip|hr|manager)|colleague(?:s)? of yours|human resources|staff (?:data|record)|whistle",
    ),
}  # fmt: skip
_COMPILED = {kind: re.compile("|".join(_PATTERNS[kind]), re.IGNORECASE) for kind in KINDS}


def of_text(text: str) -> str:
    """Return the most pressing class that the words show, or ""."""
    return next((kind for kind in KINDS if _COMPILED[kind].search(text)), "")


def most_pressing(kinds: Sequence[str]) -> str:
    """Return the one of these classes that is served first; "" if there is none."""
    return min((k for k in kinds if k in RANK), key=RANK.__getitem__, default="")
