"""What customers write when they hear of a breach: question kinds with several phrasings each, and how people dress them up.

Our own words. Each kind says whether it is urgent (somebody may be losing money or a clock of the law runs), so that a drill can score
the desk. Look-alike pairs are meant: "was my card taken" and "somebody uses my card" differ in what must happen next.
"""

from __future__ import annotations

from dataclasses import dataclass

from .office.personality import number


@dataclass(frozen=True, slots=True)
class Kind:
    """One question: its weight, whether it must reach skilled people first, and ways to put it."""

    name: str
    weight: int
    urgent: bool
    subjects: tuple[str, ...]
    phrasings: tuple[str, ...]


KINDS = (
    Kind("card_stolen", 17, False, ("my credit card", "Is my card affected?", "card number"), (
        "Was my credit card number stolen?", "Do the people who broke in have my full card number now?",
        "Please tell me whether my card details were taken or only the last digits.", "Should I cancel my card because of this?",
        "I paid with a card last month. Is that card safe?")),
    Kind("how_reset", 16, False, ("Password", "how do I change my password", "reset"), (
        "How do I set a new password?", "Where on your site can I change my password now?",
        "My old password does not work any more. What do I have to do to get in again?",
        "I want to choose a new password but cannot find the page.",
        "Please explain step by step how to reset the password.")),
    Kind("is_it_real", 13, False, ("Is this mail from you?", "phishing?", "Suspicious message"), (
        "Did you really send me this message or is it phishing?", "How can I know that this mail is genuine?",
        "I got a letter about a break-in. Is it real?", "This looks like a scam to me, please confirm that it comes from you.",
        "A message with your name says my password was ended. True or fake?")),
    Kind("link_fails", 9, False, ("reset link does not work", "Link broken", "expired?"), (
        "The link in the reset mail does not work.", "When I open your reset link it says that it has been used or is too old.",
        "I asked for a new password three times and the link is always expired.", "Clicking the reset link only gives me an error page.")),
    Kind("no_mail", 7, False, ("No reset mail", "I get no e-mail", "still waiting"), (
        "I asked for a reset but no mail arrives.", "I have been waiting for the reset mail for hours, nothing in spam either.",
        "Your page says a mail is on its way. It never came.", "No reset message reaches me, could my address be wrong in your files?")),
    Kind("delete_account", 7, False, ("Delete my account", "please remove me", "close account"), (
        "Please delete my account and everything you hold about me.", "I want to close my account for good.",
        "Remove all my data from your systems, I will not shop with you again.", "How do I get my account erased?")),
    Kind("what_data", 6, False, ("What do you have about me?", "Which data", "details please"), (
        "What exactly of mine was taken?", "Which of my details did they see?", "Was my home address among the data?",
        "I would like to know what information about me was exposed.")),
    Kind("other_sites", 5, False, ("same password elsewhere", "question", "Other accounts"), (
        "I used the same password on other sites. Should I change it there too?", "Does this touch my accounts with other shops?",
        "My e-mail account had the same password as yours, is that a problem?")),
    Kind("old_address", 4, False, ("I have a new e-mail address", "change of address", "lost access"), (
        "I have no access to my old mailbox any more. How do I get into my account?",
        "My e-mail address changed years ago, the reset goes to one I cannot read.", "Can you send the reset to another address?")),
    Kind("order_status", 4, False, ("My order", "Where is my parcel", "order question"), (
        "What happens to the order I placed on Friday?", "Is my order still on its way in spite of all this?",
        "I cannot see my order because I cannot sign in. Has it been shipped?")),
    Kind("abroad_blocked", 3, False, ("blocked", "Access from abroad", "cannot reach your site"), (
        "I am abroad and your site does not let me in.", "From here your page only says that it is not available in my country.",
        "I live outside the United States and cannot open the page to change my password.")),
    Kind("call_me", 3, False, ("Phone", "call me", "your phone line"), (
        "Your phone line is closed. Please call me back.", "Why can I reach nobody by phone? I want to talk to a person.",
        "I tried to call all morning. Is there a number that works?")),
    Kind("compensation", 2, False, ("compensation", "what do I get", "credit monitoring"), (
        "Will you pay for credit monitoring?", "What compensation do you offer for this?",
        "Do I get a coupon or anything for the trouble?")),
    Kind("thanks", 2, False, ("Thank you", "thanks", "well done"), (
        "Thank you for telling us so quickly.", "No question, I just want to say that you handled this well.",
        "Thanks, the reset worked at once.")),
    Kind("fraud_now", 3, True, ("URGENT fraud", "charges on my card", "somebody is using my account"), (
        "There are charges on my card today that I did not make.", "Somebody is ordering things with my account right now, please stop it!",
        "Money has just been taken from my bank account after your leak.",
        "My card was used twice this morning for things I never bought.")),
    Kind("account_taken", 2, True, ("Hacked", "my account was taken over", "help!"), (
        "Someone changed the e-mail address of my account and I am locked out.",
        "I got a message that my password was changed, but it was not me.",
        "A stranger is inside my account and has altered my shipping address.")),
    Kind("journalist", 1, True, ("Press inquiry", "Request for comment", "interview"), (
        "I am a reporter and write about the incident. Who can give me a statement before my deadline today?",
        "Press inquiry: how many customers are concerned and when did you learn of it?")),
    Kind("lawyer", 1, True, ("Legal notice", "Preservation of evidence", "claim"), (
        "I represent a client whose data you held and ask you to preserve all records.",
        "As counsel for several customers I request a written account within seven days.",
        "You will hear from my attorney. Please confirm where a summons can be served.")),
    Kind("regulator", 1, True, ("Request for information", "Consumer protection inquiry"), (
        "This office oversees data protection here and asks for your notification under the law.",
        "We are the consumer protection division of a state attorney general; please name your contact for this breach.")),
    Kind("data_request", 2, True, ("Access request", "my rights", "GDPR Art. 15"), (
        "Under Article 15 of the GDPR I request a copy of all personal data you hold about me.",
        "I use my right of access under the law of my state: send me everything you have stored.")),
)
BY_NAME = {kind.name: kind for kind in KINDS}
_TABLE = tuple(kind for kind in KINDS for _ in range(kind.weight))

_GREETINGS = ("Hello,", "Hi", "Dear Sir or Madam,", "Good morning,", "To whom it may concern,", "Hi there!", "Hello support team,", "")
_LEADS = ("I have been a customer for years.", "I read about this in the news today.",
          "Your message came in this morning.", "I am quite worried.",
          "Honestly I am not amused.", "My sister got the same letter.", "I shop with you two or three times a year.", "", "", "")
_CLOSINGS = ("Please answer soon.", "Thanks in advance.", "I look forward to your reply.", "Kind regards", "Best,", "Thank you", "", "")
_FOOTERS = ("", "", "", "Sent from my phone", "-- \n{name}\n12 Any Street", "-- \n{name}, sent from a tablet, excuse the typing")


@dataclass(frozen=True, slots=True)
class Question:
    """A question as written: its kind, the subject and the text without any quote."""

    kind: Kind
    subject: str
    text: str


def question(seed: int, key: str, *, name: str) -> Question:
    """Return what the person behind `key` writes. Same seed and key, same words."""
    draw = number(seed, f"letter|{key}")

    def pick(things: tuple[str, ...]) -> str:
        nonlocal draw
        draw, at = divmod(draw, len(things))
        return things[at]

    draw, at = divmod(draw, len(_TABLE))
    kind = _TABLE[at]
    asked = pick(kind.phrasings)
    if draw % 7 == 0:
        asked = asked.lower()
    draw //= 7
    lead, closing = pick(_LEADS), pick(_CLOSINGS)
    body = f"{lead} {asked}".strip() if draw % 2 else f"{asked} {lead}".strip()
    draw //= 2
    parts = [pick(_GREETINGS), body, f"{closing}\n{name}" if closing else name, pick(_FOOTERS).format(name=name)]
    return Question(kind, pick(kind.subjects), "\n\n".join(p for p in parts if p) + "\n")


def quoted(text: str, *, sender: str, when: str, style: int) -> str:
    """Return a mail quoted beneath an answer, in one of the three ways mail programs do it."""
    if style % 3 == 0:
        return f"\nOn {when}, {sender} wrote:\n" + "".join(f"> {line}\n" for line in text.splitlines())
    if style % 3 == 1:
        return f"\n-----Original Message-----\nFrom: {sender}\nSent: {when}\n\n{text}\n"
    return f"\n________________________________\nFrom: {sender}\nDate: {when}\n\n{text}\n"
