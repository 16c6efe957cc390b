"""Values of the notices room that cross its wall. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tocsin.kernel.errors import Fault


class MailingState(StrEnum):
    """Where a mailing stands: frozen and waiting for signatures, being sent, held, or over."""

    READY = "ready"
    SENDING = "sending"
    PAUSED = "paused"
    STOPPED = "stopped"
    ENDED = "ended"
    DISCARDED = "discarded"  # frozen, but the exposure or the text changed before it was approved


@dataclass(frozen=True, slots=True)
class VariantTexts:
    """One text of a notice. `jurisdictions`: whom it is for; empty means everybody without a variant of their own.

    `blocks` maps each heading of the text to the content blocks under it (`policy.BLOCKS`). `html` may be empty: then the mail is plain text
    alone. It may be left to `draft`: `layout` puts the text into a layout of ours, `mjml` is a layout of the company's own, of which the
    text is read too if none is given. `translation_of`: the key of the variant that this one says in another language, for the same readers.
    `headed`: the same text under the line that says where to read it in other languages; `draft` makes these itself.
    """

    key: str
    subject: str
    text: str
    html: str
    locale: str = "en"
    jurisdictions: tuple[str, ...] = ()
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allow_links: bool = False
    mjml: str = ""
    layout: str = ""
    translation_of: str = ""
    headed: bool = False


@dataclass(frozen=True, slots=True)
class FaqTexts:
    """A question that readers ask, and its answer, for the pages on the site."""

    question: str
    answer: str
    locale: str = "en"


@dataclass(frozen=True, slots=True)
class StatementTexts:
    """A press statement or a memo to staff, from the same facts as the notice. Its HTML is made of the text in our layout."""

    kind: str
    title: str
    text: str
    locale: str = "en"
    html: str = ""

    @property
    def name(self) -> str:
        """Return what it is called in manifests and files: `press.en`."""
        return f"{self.kind}.{self.locale}"


@dataclass(frozen=True, slots=True)
class NoticeTexts:
    """All variants of a notice, what is said beside it, and the facts that fill `{{fact:key}}`.

    `languages`: jurisdiction (or its country) -> the language for readers there of whom no language is known; the default variant's elsewhere.
    """

    variants: tuple[VariantTexts, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    languages: Mapping[str, str] = field(default_factory=dict)
    faq: tuple[FaqTexts, ...] = ()
    statements: tuple[StatementTexts, ...] = ()


@dataclass(frozen=True, slots=True)
class SitePages:
    """Pages of a notice that were written to a folder: path -> SHA-256 of its bytes."""

    id: int
    notice: int
    folder: str
    pages: Mapping[str, str]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class PageSeen:
    """One page as it was fetched from an address. `ok`: byte for byte what was written; otherwise `found` says what came instead."""

    path: str
    sha256: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Posting:
    """Proof of posting at one address: since when every page was seen there as written, until when last, and looks that found otherwise.

    Between two looks nobody looked: `looks` says how many there were.
    """

    notice: int
    url: str
    pages: Mapping[str, str]
    since_at: datetime | None
    until_at: datetime | None
    looks: int
    failed: int


@dataclass(frozen=True, slots=True)
class Outdated:
    """Something that says what a later fact no longer says. `what`: notice, site notice; `now`: the value that holds, "" if it was withdrawn."""

    what: str
    id: int
    key: str
    fact: int
    said: str
    fact_now: int | None
    now: str


@dataclass(frozen=True, slots=True)
class SiteTexts:
    """The notice for the company's own site: a fragment of HTML, and the same as plain text."""

    html: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate found in a variant. A `hard` one keeps the notice from being sent."""

    gate: str
    variant: str
    hard: bool
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NoticeInfo:
    """A drafted notice and the digests of its variants."""

    id: int
    incident: int
    version: int
    created_at: datetime
    created_by: str
    variants: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LanguageInfo:
    """One language of a notice. `needs_review`: it is not the notice's own, so it goes out only under a reviewer's signature.

    `sha256` names exactly what is reviewed: subject, text and HTML of every variant in this language. `reviewed_by` is None while no
    signature over it verifies; `waiting`: the approval that a reviewer was asked to sign, while it is open.
    """

    locale: str
    variants: tuple[str, ...]
    sha256: str
    needs_review: bool
    reviewed_by: str | None = None
    approval: int | None = None
    waiting: int | None = None

    @property
    def releasable(self) -> bool:
        """Return whether the language may go out, as far as its own reviewer is concerned."""
        return not self.needs_review or self.reviewed_by is not None


@dataclass(frozen=True, slots=True)
class Tried:
    """What becomes of texts that are being edited: faults keep them from being stored, findings from being sent; nothing is written down.

    `preview`: the text in hand as a made-up customer would read it, None while it has faults. `blocks`: (content block, held, wanted by what);
    `wanted` is "" for one that nothing asks for.
    """

    faults: tuple[Fault, ...]
    findings: tuple[Finding, ...]
    preview: PreviewText | None
    blocks: tuple[tuple[str, bool, str], ...]


@dataclass(frozen=True, slots=True)
class PreviewText:
    """A variant as one recipient would get it. The values of its slots are made up, or masked, unless a named person's were asked for."""

    variant: str
    subject: str
    text: str
    html: str
    grade: float
    flesch: float
    words: int
    locale: str = "en"
    why: str = ""


@dataclass(frozen=True, slots=True)
class StartCounts:
    """What a start would do now, counted by the same statements that freeze a mailing, and nothing of it kept.

    people = recipients + merged; recipients = by_mail + letters. `by_language` and `by_variant` count recipients, `by_provider` those by
    mail. `language_unknown`: recipients whose language nobody knows, or that the notice does not have; they get the headed text.
    """

    notice: int
    incident: int
    exposure: int
    people: int
    recipients: int
    merged: int
    by_mail: int
    letters: int
    language_unknown: int
    by_language: Mapping[str, int]
    by_variant: Mapping[str, int]
    by_provider: Mapping[str, int]
    languages: tuple[LanguageInfo, ...]
    hard_findings: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TestMail:
    """A variant sent to a seed address: never a recipient, in no count of a mailing. `state` as in mail: waiting, sent, deferred, bounced."""

    __test__ = False  # no test class, whatever its name begins with

    id: int
    notice: int
    variant: str
    state: str
    code: int
    reason: str
    queued_at: datetime
    queued_by: str


@dataclass(frozen=True, slots=True)
class Retry:
    """When a deferred recipient is tried again: `first_s` after the first deferral, doubling, at most `tries_max` sendings in all.

    The default ends after about 42 hours. Source: RFC 5321 s4.5.4.1 (retry for days); a drill shortens it.
    `soft_days`: for so long a mailbox is tried again of which a report says that it fails for now (full, switched off); 0: not at all.
    """

    first_s: float = 300.0
    tries_max: int = 13
    soft_days: float = 3.0


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One provider's share of a mailing. `held_…`: what its receiver made of the lane, 0 being a pause; `broken`: people must let it go on.

    `rate_per_s`: handed over per second in the last minute; `connections_open`: held by senders now, of `connections`. `locked`: waiting for
    a filing. `late`: by `eta_at` it ends after the deadline. `held_what`: pause, slow, adapt or breaker, `held_why` in the receiver's words.
    `warm_up_…`: what may go to the receiver today, and what is left of it; None without a warm-up.
    """

    lane: int
    provider: str
    rate_per_s_max: float
    connections: int
    recipients: int
    waiting: int
    handed_over: int
    deferred: int
    bounced: int
    letters: int
    blocks_sending: int
    eta_at: datetime | None
    held_rate_per_s: float | None = None
    held_until: datetime | None = None
    broken: bool = False
    rate_per_s: float = 0.0
    connections_open: int = 0
    messages_per_connection: int = 0
    locked: int = 0
    late: bool = False
    held_what: str = ""
    held_why: str = ""
    warm_up_per_day: int | None = None
    warm_up_left: int | None = None


@dataclass(frozen=True, slots=True)
class ReplyClass:
    """So many recipients of a lane to whom one kind of reply was the last word so far. `reason`: in the words of the bounce classifier.

    `state`: told (after a deferral), deferred, bounced or letter; `text`: one example, without addresses.
    """

    provider: str
    state: str
    code: int
    enhanced: str
    reason: str
    count: int
    text: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Doubted:
    """One recipient who may have received the notice twice, or not yet: masked address, where its block stands, what became of it."""

    block: int
    place: int
    provider: str
    address: str
    state: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that wants a person: `level` bad or warn, what, in words, and what to do. `lane`: None for the whole mailing."""

    level: str
    what: str
    words: str
    remedy: str
    lane: int | None = None


@dataclass(frozen=True, slots=True)
class LockedPeople:
    """So many recipients of some places wait until a filing (`gate`: LAW.DUTY) that must come before them is recorded as made."""

    gate: str
    name: str
    jurisdictions: tuple[str, ...]
    recipients: int


@dataclass(frozen=True, slots=True)
class MailingStatus:
    """A mailing in numbers. recipients = waiting + handed_over + deferred + bounced + letters + lost, and lost is 0.

    `in_doubt`: recipients who may have received the notice twice, each named in the evidence. `merged`: accounts told through another
    account's mailbox. `rate_per_s`: handed over per second, of the last minute while sending, of the whole mailing afterwards.
    Parts, counted beside: of letters `letters_printed`; of bounced `letters_rejected` (no address that a letter can go to),
    `letters_returned` (came back, and no other address is known), `unreachable` (no channel works) and of these `substitute` (the notice
    on the site stands for them). `complaints` and `auto_replies`: what else came back; neither changes where anybody stands.
    """

    mailing: int
    notice: int
    incident: int
    state: MailingState
    recipients: int
    waiting: int
    handed_over: int
    deferred: int
    bounced: int
    letters: int
    lost: int
    in_doubt: int
    merged: int
    rate_per_s: float
    started_at: datetime | None
    ended_at: datetime | None
    eta_at: datetime | None
    deadline_at: datetime | None
    lanes: tuple[LaneStatus, ...]
    letters_printed: int = 0
    letters_rejected: int = 0
    letters_returned: int = 0
    unreachable: int = 0
    substitute: int = 0
    complaints: int = 0
    auto_replies: int = 0
    late_until: datetime | None = None
    locked: tuple[LockedPeople, ...] = ()
    alerts: tuple[Alert, ...] = ()
    late: bool = False

    @property
    def pace_until(self) -> datetime | None:
        """Return by when it must be out: the deadline, or the later end that two people signed."""
        return self.late_until or self.deadline_at


@dataclass(frozen=True, slots=True)
class SiteNotice:
    """The notice on the site. `html` passed the gates: no script, no link unless asked for, nothing from elsewhere."""

    incident: int
    html: str
    text: str
    sha256: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class Sent:
    """The answer to "did you send this?": yes, on that day, under that subject line. Nothing about whom."""

    sent_at: datetime
    subject: str
    by_letter: bool


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """A bundle of letters for the print house: one PDF. `sheets` are those of paper; `countries` counts letters.

    `written_at`: since when its files lie in a folder; None: made and not written yet. `sha256` is that of the PDF. `reissue`: its letters
    were in a bundle before, and somebody asked for them again.
    """

    id: int
    mailing: int
    layout: str
    letters: int
    pages: int
    sheets: int
    countries: Mapping[str, int]
    sha256: str
    made_at: datetime
    made_by: str
    written_at: datetime | None
    reissue: bool


@dataclass(frozen=True, slots=True)
class LetterReport:
    """What `letters` did: read = written + rejected. `rejects_file` names every fault of every address that no letter can go to.

    `countries` counts written letters; `price` is the estimate of `[letters]` in its currency. A dry run writes nothing: what it counts as
    written would be.
    """

    read: int
    written: int
    rejected: int
    bundles: tuple[int, ...]
    pages: int
    sheets: int
    countries: Mapping[str, int]
    price: float
    currency: str
    folder: str | None
    rejects_file: str | None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ReturnReport:
    """What became of a list of returned mail: read = accepted + rejected, accepted = again + substitute + known.

    `again`: another address was known, a new letter is queued; `substitute`: none is; `known`: the list, or one before, named it already.
    """

    read: int
    accepted: int
    rejected: int
    again: int
    substitute: int
    known: int
    rejects_file: str | None
