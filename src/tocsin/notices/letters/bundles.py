"""Bundles for a print house: a PDF of up to `[letters] bundle` letters, a list of what is in it, and the checksums.

    FOLDER/bundle-000012.pdf    the letters, each on a sheet of its own
    FOLDER/bundle-000012.csv    letter_id, bundle, position, first_page, last_page, pages, sheets, country: nothing personal
    FOLDER/SHA256SUMS           of all files, as `sha256sum -c` reads it
    FOLDER.rejects.csv          beside it, for the company alone: letter_id, customer_number, address, field, fault

Steps, what is durable after each, and what a kill there costs:
    1  assign    One transaction: the bundle's row, its letters in their order, the address each goes to. Kill: the next export sets it.
    2  set       The PDF in a folder `.FOLDER.….partial`. Kill: set again; the partial folder is removed by the next export to FOLDER.
    3  record    One transaction: hash, pages, an entry for the bundle and one for each customer told. Kill: set again, same bytes.
    4  rename    All files are on the disk; the folder gets its name; one transaction marks its bundles as written. Kill before: the next
                 export writes them again, the same bytes, without new entries.
A letter is in one bundle and never in a second one, which the database keeps, unless it is re-issued: that is a bundle of its own kind.
What is set is what two people signed: the text is compared with the manifest before the first letter.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import rfc8785
from django.db import connection, transaction
from django.db.models import Max
from django.utils import dateformat, formats, translation
from django.utils.translation import gettext as _

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable, ensure
from tocsin.kernel.sealing import lookup_digest
from tocsin.subjects import queries as subjects
from tocsin.subjects.types import Postal

from .. import casecode, frozen, policy
from ..models import Bundle, BundledLetter, Letter, Mailing, Variant
from ..sending import NAMELESS, code_key
from ..types import LetterReport
from . import body, number
from .address import Addressed, addressed
from .setting import REMEDY, Made, Setter, Sheet

ROWS = 1000  # letters looked at in one step
LOCK = 0x746F634C  # advisory, with the mailing's number: one export of a mailing at a time
MANIFEST = ("letter_id", "bundle", "position", "first_page", "last_page", "pages", "sheets", "country")
REJECTS = ("letter_id", "customer_number", "address", "field", "fault")
SHOWN_MAX = 5  # characters named in a fault

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A letter as the tables know it: `tried` are the addresses of earlier letters, `mac` the one this letter went to."""

    id: int
    block: int
    place: int
    subject: int
    state: str
    variant: int
    recipient: int
    merged: tuple[int, ...]
    tried: frozenset[bytes]
    mac: bytes

    @property
    def accounts(self) -> list[int]:
        """Return the accounts that the letter speaks of, the recipient's own first."""
        return [self.recipient, *self.merged]


@dataclass(frozen=True, slots=True)
class Ready:
    """A letter with an address it can go to."""

    row: Row
    to: Addressed
    kind: str
    name: str
    customer: str
    references: str

    @property
    def mac(self) -> bytes:
        """Return the keyed digest of where it goes."""
        return mac_of(self.to)


@dataclass(slots=True)
class Unfit:
    """A letter that no address is good enough for, and everything that is wrong with each."""

    row: Row
    customer: str
    faults: list[tuple[str, str, str]] = field(default_factory=list)


def mac_of(to: Addressed) -> bytes:
    """Return the keyed digest of an address as it stands in the window."""
    return lookup_digest("\n".join(to.lines), purpose="letter-address")


def layout_of(to: Addressed) -> str:
    """Return the sheet and window of an address: what `[letters] layout` says, or what suits the country."""
    wanted = config.current().letters.layout
    return to.layout if wanted == "auto" else wanted


def chosen(addresses: Sequence[Postal], *, tried: frozenset[bytes]) -> tuple[Addressed, Postal] | list[tuple[str, str, str]]:
    """Return the best address that a letter can go to and no letter went to before, or the faults of all as (kind, field, reason)."""
    faults, home = [], config.current().letters.country
    for postal in addresses:
        found = addressed(postal.name.reveal(), postal.address.reveal(), home=home)
        if isinstance(found, list):
            faults += [(postal.kind, name, why) for name, why in found]
        elif mac_of(found) not in tried:
            return found, postal
    return faults or [("", "address", "no further one is known" if tried else "none is known any more")]


class Press:
    """What all letters of a mailing share: the signed texts, the fonts, the sender, the words around the text in each language."""

    def __init__(self, mailing: Mailing) -> None:
        self.mailing, self.settings, self.key = mailing, config.current().letters, code_key()
        self.sender = _sender()
        plan = frozen.plan_of(mailing)
        self.variants = {v.pk: v for v in Variant.objects.filter(notice_id=mailing.notice_id)}
        self.digests = {pk: frozen.template_of(v).digest for pk, v in self.variants.items()}
        for pk, v in self.variants.items():
            if plan.manifest["variants"].get(v.key) != self.digests[pk].hex():
                raise Refused(f"the text {v.key} is not what two people signed")
        self.setter = Setter(self.settings.fonts)
        self._frames: dict[tuple[int, datetime], dict[str, str]] = {}
        for v in self.variants.values():
            if missing := self.setter.unshown({c for c in v.subject + v.text + "".join(self.sender) if not c.isspace()}):
                raise Unavailable("letter printer", f"no font here has {_named(missing)} of the text {v.key}; {REMEDY}")

    def prepare(self, rows: Sequence[Row]) -> tuple[list[Ready], list[Unfit]]:
        """Open the addresses of letters and sort out those that none is good enough for."""
        known: dict[int, list[Postal]] = {}
        for postal in subjects.postal([r.subject for r in rows], every=True):
            known.setdefault(postal.subject, []).append(postal)
        numbers = subjects.external_ids([a for r in rows for a in {*r.accounts, r.subject}])
        ready, unfit = [], []
        for row in rows:
            customer = numbers.get(row.subject, "")
            found = chosen(known.get(row.subject, []), tried=row.tried)
            if isinstance(found, list):
                unfit.append(Unfit(row, customer, found))
                continue
            to, postal = found
            made = Ready(
                row, to, postal.kind, postal.name.reveal(), customer, policy.references([numbers[a] for a in row.accounts if a in numbers])
            )
            missing = self.setter.unshown({c for c in "".join((*to.lines, self.salutation(made), made.references)) if not c.isspace()})
            if missing:
                unfit.append(Unfit(row, customer, [(postal.kind, "address", f"no font here has {_named(missing)}; {REMEDY}")]))
            else:
                ready.append(made)
        return ready, unfit

    def salutation(self, one: Ready) -> str:
        """Return the name as the text speaks to somebody: by the same rule as in the mail."""
        return policy.vetted(one.name, instead=NAMELESS)

    def slots(self, one: Ready) -> dict[str, str]:
        """Return the values of a letter's slots, as the mail would have had them."""
        code = casecode.encode(self.key, block=one.row.block, place=one.row.place)
        return {"name": self.salutation(one), "case_code": code, "references": one.references}

    def sheet(self, one: Ready, at: datetime) -> Sheet:
        """Return a letter as it is set."""
        variant, slots = self.variants[one.row.variant], self.slots(one)
        frame = self._frame(variant, at)
        text = body.filled(variant.text, slots)
        return Sheet(
            number=number.shown(one.row.id),
            lang=variant.locale[:2].lower(),
            page=frame["page"],
            date=frame["date"],
            address=one.to.lines,
            info=(frame["code"].format(code=slots["case_code"]), frame["customer"].format(number=one.references)),
            subject=variant.subject,
            body=body.paragraphs(text, headings=set(variant.blocks)),
        )

    def set(self, ready: Sequence[Ready], *, layout: str, at: datetime, duplex: bool) -> Made:
        """Set letters into one PDF."""
        return self.setter.set([self.sheet(r, at) for r in ready], layout=layout, sender=self.sender, date=at, duplex=duplex)

    def _frame(self, variant: Variant, at: datetime) -> dict[str, str]:
        """Return the words around a text, in its language."""
        kept = (variant.pk, at)
        if kept not in self._frames:
            with translation.override(_language(variant.locale)):
                form = formats.get_format("DATE_FORMAT").replace("N", "F")
                self._frames[kept] = {
                    "page": _("Page {page} of {pages}"),
                    "date": dateformat.format(at, form),
                    "code": _("Case code: {code}"),
                    "customer": _("Customer number: {number}"),
                }
        return self._frames[kept]


def export(
    mailing: int,
    *,
    folder: Path,
    at: datetime,
    by: str,
    again: Sequence[int] = (),
    reissue: Sequence[str] = (),
    progress: Progress | None = None,
) -> LetterReport:
    """Write the letters of a mailing into a new folder; see `actions.letters`."""
    found, folder = _mailing(mailing), Path(folder)
    _check_folder(folder)
    with _alone(mailing):
        press = Press(found)
        evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=found.incident, body=_reading(mailing, "begun"))
        run = Run(press, folder, at=at.replace(microsecond=0), by=by, progress=progress)
        with run.folder_kept():
            if again:
                run.write_again(again)
            elif reissue:
                run.write_reissue(reissue)
            else:
                run.write_new()
            return run.finish()


def estimate(mailing: int, *, at: datetime, by: str, progress: Progress | None = None) -> LetterReport:
    """Return what `export` would write, without writing: see `actions.letters_estimate`. One letter of each text and sheet is set."""
    found = _mailing(mailing)
    press, totals, pages = Press(found), Totals(), dict[tuple[int, str], int]()
    evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=found.incident, body=_reading(mailing, "begun", dry_run=True))
    for rows in open_letters(mailing):
        ready, unfit = press.prepare(rows)
        totals.read += len(rows)
        totals.rejected += len(unfit)
        for one in ready:
            shape = (one.row.variant, layout_of(one.to))
            if shape not in pages:
                ((first, last),) = press.set([one], layout=shape[1], at=at, duplex=press.settings.duplex).spans
                pages[shape] = last - first + 1
            totals.add(one.to.country, pages[shape], duplex=press.settings.duplex)
        if progress:
            progress(totals.read)
    body = _reading(mailing, "ended", dry_run=True, letters=totals.written, rejected=totals.rejected)
    evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=found.incident, body=body)
    return totals.report(folder=None, rejects=None, bundles=(), dry_run=True)


@dataclass(slots=True)
class Totals:
    """Running counts of an export: read = written + rejected."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    pages: int = 0
    sheets: int = 0
    price: float = 0.0
    countries: Counter[str] = field(default_factory=Counter)

    def add(self, country: str, pages: int, *, duplex: bool) -> None:
        """Count one letter."""
        settings, sheets = config.current().letters, sheets_of(pages, duplex=duplex)
        abroad = country != settings.country
        self.written += 1
        self.pages += pages
        self.sheets += sheets
        self.price += ((abroad and settings.price_abroad) or settings.price) + (sheets - 1) * settings.price_sheet
        self.countries[country] += 1

    def report(self, *, folder: Path | None, rejects: Path | None, bundles: Sequence[int], dry_run: bool = False) -> LetterReport:
        """Return the counts as they cross the wall."""
        ensure(self.read == self.written + self.rejected, f"letters do not close: {self.read} read, {self.written} and {self.rejected}")
        return LetterReport(
            read=self.read,
            written=self.written,
            rejected=self.rejected,
            bundles=tuple(bundles),
            pages=self.pages,
            sheets=self.sheets,
            countries=dict(sorted(self.countries.items())),
            price=round(self.price, 2),
            currency=config.current().letters.currency,
            folder=str(folder) if folder else None,
            rejects_file=str(rejects) if rejects else None,
            dry_run=dry_run,
        )


def sheets_of(pages: int, *, duplex: bool) -> int:
    """Return the sheets of paper of a letter."""
    return (pages + 1) // 2 if duplex else pages


class Run:
    """One export into one folder."""

    def __init__(self, press: Press, folder: Path, *, at: datetime, by: str, progress: Progress | None) -> None:
        self.press, self.folder, self.at, self.by, self.progress = press, folder, at, by, progress
        self.mailing = press.mailing
        self.partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
        self.totals, self.bundles, self.rejects = Totals(), list[Bundle](), list[tuple[str, ...]]()
        self.sums: list[tuple[str, str]] = []

    @contextmanager
    def folder_kept(self) -> Iterator[None]:
        """Make the partial folder; if anything breaks off, no personal data is left in it."""
        for left in self.folder.parent.glob(f".{self.folder.name}.????????.partial"):
            shutil.rmtree(left)
        try:
            self.partial.mkdir(mode=0o700)
        except OSError as e:
            raise BadInput.of("folder", str(self.folder), f"a new folder where one can be made ({e.strerror})") from None
        try:
            yield
        finally:
            shutil.rmtree(self.partial, ignore_errors=True)

    def write_new(self) -> None:
        """Write bundles that were made and never written, then everything that waits."""
        for bundle in Bundle.objects.filter(mailing=self.mailing, written_at=None, dissolved_at=None).order_by("pk"):
            try:
                self._write(bundle, self._ready_of(bundle), counts=True)
            except Refused as e:
                self._dissolve(bundle, why=e.rule)
        waiting: dict[str, list[Ready]] = {"us": [], "din": []}
        for rows in open_letters(self.mailing.pk):
            ready, unfit = self.press.prepare(rows)
            self.totals.read += len(rows)
            self.totals.rejected += len(unfit)
            self._reject(unfit)
            for one in ready:
                waiting[layout_of(one.to)].append(one)
            for layout, lot in waiting.items():
                while len(lot) >= self.press.settings.bundle:
                    self._bundle(lot[: self.press.settings.bundle], layout)
                    del lot[: self.press.settings.bundle]
        for layout, lot in waiting.items():
            if lot:
                self._bundle(lot, layout)

    def write_again(self, bundles: Sequence[int]) -> None:
        """Write bundles once more, the same bytes. Raises NotFound; Refused if one would not be what it was."""
        known = {b.pk: b for b in Bundle.objects.filter(mailing=self.mailing, dissolved_at=None, pk__in=list(bundles))}
        if missing := sorted(set(bundles) - known.keys()):
            raise NotFound(f"no bundle {', '.join(map(str, missing))} in mailing {self.mailing.pk}")
        for pk in dict.fromkeys(bundles):
            self._write(known[pk], self._ready_of(known[pk]), counts=True)

    def write_reissue(self, numbers: Sequence[str]) -> None:
        """Write letters once more that were in a bundle before, in a bundle that says so. Raises BadInput with every fault."""
        wanted = _numbered(self.mailing.pk, numbers)
        rows = [_row(r) for r in sql.rows("notices", "letters_by_id", letters=wanted)]
        ready, unfit = self.press.prepare(rows)
        self.totals.read += len(rows)
        self.totals.rejected += len(unfit)
        self._note(unfit)  # they stand where they stood: the letter of before is still out
        for layout in ("us", "din"):
            lot = [r for r in ready if layout_of(r.to) == layout]
            if lot:
                self._bundle(lot, layout, reissue=True)

    def finish(self) -> LetterReport:
        """Give the folder its name, mark its bundles as written, and report."""
        rejects = self._write_rejects()
        if self.bundles:
            self._file("SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sorted(self.sums)).encode())
            _sync(self.partial)
            self.partial.rename(self.folder)
            _sync(self.folder.parent)
        t, made = self.totals, [b.pk for b in self.bundles]
        with transaction.atomic():
            Bundle.objects.filter(pk__in=made, written_at=None).update(written_at=self.at)
            Letter.objects.filter(bundledletter__bundle__in=made, exported_at=None).update(exported_at=self.at)
            if made:
                written = {"mailing": self.mailing.pk, "bundles": made, "letters": t.written, "pages": t.pages, "sheets": t.sheets}
                self._act(EventType.LETTERS_WRITTEN, {**written, "files": dict(sorted(self.sums))})
            self._act(
                EventType.PERSONAL_DATA_READ, _reading(self.mailing.pk, "ended", letters=t.written, rejected=t.rejected, bundles=len(made))
            )
        return t.report(folder=self.folder if made else None, rejects=rejects, bundles=made)

    # --- one bundle ---------------------------------------------------------------------------------------------------------------

    def _bundle(self, lot: Sequence[Ready], layout: str, *, reissue: bool = False) -> None:
        """Assign letters to a new bundle, sorted as the post sorts, and write it."""
        ordered = sorted(lot, key=lambda r: (r.to.country, r.to.postcode, r.row.id))
        with transaction.atomic():
            bundle = Bundle.objects.create(
                mailing=self.mailing,
                layout=layout,
                letters=len(ordered),
                duplex=self.press.settings.duplex,
                countries=dict(sorted(Counter(r.to.country for r in ordered).items())),
                made_at=self.at,
                made_by=self.by,
                reissue=reissue,
            )
            BundledLetter.objects.bulk_create(
                [
                    BundledLetter(bundle=bundle, place=n, letter_id=r.row.id, address_mac=r.mac, reissue=reissue)
                    for n, r in enumerate(ordered)
                ],
                batch_size=ROWS,
            )
            sql.execute(
                "notices",
                "letters_bundled",
                letters=[r.row.id for r in ordered],
                kinds=[r.kind for r in ordered],
                countries=[r.to.country for r in ordered],
                macs=[r.mac for r in ordered],
            )
            mended = [r.row.id for r in ordered if r.row.state == "rejected"]
            if mended:
                sql.execute("notices", "letters_with_way", letters=mended)
        self._write(bundle, ordered, counts=False)

    def _ready_of(self, bundle: Bundle) -> list[Ready]:
        """Return the letters of a bundle as they were. Raises Refused if the register says something else of somebody by now."""
        rows = [_row(r) for r in sql.rows("notices", "letters_of_bundle", bundle=bundle.pk)]
        ensure(len(rows) == bundle.letters, f"bundle {bundle.pk} holds {bundle.letters} letters")
        known: dict[int, list[Postal]] = {}
        for postal in subjects.postal([r.subject for r in rows], every=True):
            known.setdefault(postal.subject, []).append(postal)
        numbers = subjects.external_ids([a for r in rows for a in {*r.accounts, r.subject}])
        ready, home = [], config.current().letters.country
        for row in rows:
            for postal in known.get(row.subject, []):
                to = addressed(postal.name.reveal(), postal.address.reveal(), home=home)
                if not isinstance(to, list) and mac_of(to) == row.mac:
                    references = policy.references([numbers[a] for a in row.accounts if a in numbers])
                    ready.append(Ready(row, to, postal.kind, postal.name.reveal(), numbers[row.subject], references))
                    break
            else:
                raise Refused(
                    f"bundle {bundle.pk} cannot be made again: the register has another address for letter {number.shown(row.id)}, or none;"
                    " re-issue the letters instead"
                )
        return ready

    def _dissolve(self, bundle: Bundle, *, why: str) -> None:
        """Let the letters of a bundle that no folder holds wait again: what they were to say of somebody has changed since."""
        with transaction.atomic():
            placed = BundledLetter.objects.filter(bundle=bundle)
            if not bundle.reissue:
                Letter.objects.filter(pk__in=placed.values("letter_id")).update(state="queued")
            placed.delete()
            bundle.dissolved_at = self.at
            bundle.save(update_fields=["dissolved_at"])
            self._act(EventType.LETTERS_BUNDLED, {"mailing": self.mailing.pk, "bundle": bundle.pk, "dissolved": True, "why": why})

    def _write(self, bundle: Bundle, ready: Sequence[Ready], *, counts: bool) -> None:
        """Set a bundle and put its files into the partial folder; the first time, record it. `counts`: its letters were read for this."""
        made = self.press.set(ready, layout=bundle.layout, at=bundle.made_at, duplex=bundle.duplex)
        digest = hashlib.sha256(made.pdf).digest()
        if bundle.sha256 is None:
            self._record(bundle, ready, made, digest)
        elif bytes(bundle.sha256) != digest:
            raise Refused(
                f"bundle {bundle.pk} would not be the same bytes: a name or a number in the register, a font or the program for setting"
                " is another one now; re-issue the letters instead"
            )
        name = f"bundle-{bundle.pk:06}"
        self._file(f"{name}.pdf", made.pdf)
        self._file(f"{name}.csv", _manifest(bundle, ready, made))
        self.bundles.append(bundle)
        for one, (first, last) in zip(ready, made.spans, strict=True):
            self.totals.add(one.to.country, last - first + 1, duplex=bundle.duplex)
        if counts:
            self.totals.read += len(ready)
        if self.progress:
            self.progress(self.totals.written + self.totals.rejected)

    def _record(self, bundle: Bundle, ready: Sequence[Ready], made: Made, digest: bytes) -> None:
        """Write down, in one transaction, what the bundle is and that each of its people is told by letter."""
        pages = [last - first + 1 for first, last in made.spans]
        bundle.sha256, bundle.pages = digest, sum(pages)
        bundle.sheets = sum(sheets_of(n, duplex=bundle.duplex) for n in pages)
        with transaction.atomic():
            bundle.save(update_fields=["sha256", "pages", "sheets"])
            firsts = [first for first, _ in made.spans]
            sql.execute("notices", "bundle_pages", bundle=bundle.pk, places=list(range(len(ready))), firsts=firsts, pages=pages)
            salts = subjects.salts([a for r in ready for a in {*r.row.accounts, r.row.subject}])
            evidence.record_many(
                EventType.LETTER_PRINTED, self._told(bundle, ready, pages, salts), actor=self.by, incident=self.mailing.incident
            )
            body = {
                "mailing": self.mailing.pk,
                "bundle": bundle.pk,
                "letters": bundle.letters,
                "pages": bundle.pages,
                "sheets": bundle.sheets,
                "layout": bundle.layout,
                "countries": bundle.countries,
                "sha256": digest.hex(),
                "reissue": bundle.reissue,
            }
            self._act(EventType.LETTERS_BUNDLED, body)

    def _told(self, bundle: Bundle, ready: Sequence[Ready], pages: Sequence[int], salts: Mapping[int, bytes]) -> Iterator[SubjectEvent]:
        """Yield one entry for each account that a letter of the bundle tells."""
        for one, n_pages in zip(ready, pages, strict=True):
            template = self.press.digests[one.row.variant]
            said = rfc8785.dumps({**self.press.slots(one), "address": list(one.to.lines)})
            body = {
                "mailing": self.mailing.pk,
                "letter": number.shown(one.row.id),
                "bundle": bundle.pk,
                "block": one.row.block,
                "place": one.row.place,
                "variant": self.press.variants[one.row.variant].key,
                "template_sha256": template.hex(),
                "pages": n_pages,
                "address": one.kind,
                "country": one.to.country,
                "reissue": bundle.reissue,
            }
            for subject in dict.fromkeys([one.row.subject, *one.row.accounts]):
                if subject in salts:
                    rendered = hmac.new(salts[subject], template + said, hashlib.sha256).hexdigest()
                    also = {} if subject == one.row.subject else {"with": one.row.subject}
                    yield SubjectEvent(subject, salts[subject], self.at, {**body, "rendered_hmac": rendered, **also})

    # --- rejects and files ----------------------------------------------------------------------------------------------------------

    def _reject(self, unfit: Sequence[Unfit]) -> None:
        """Write down letters that cannot go out: their people are bounced again until an address is mended. One transaction."""
        self._note(unfit)
        if not unfit:
            return
        with transaction.atomic():
            new = [u for u in unfit if u.row.state == "queued"]
            rows = [Letter(pk=u.row.id, state="rejected", faults=[list(f) for f in u.faults]) for u in unfit]
            Letter.objects.bulk_update(rows, ["state", "faults"], batch_size=ROWS)
            sql.execute("notices", "letters_without_way", letters=[u.row.id for u in new])
            salts = subjects.salts([u.row.subject for u in new])
            events = (
                SubjectEvent(
                    u.row.subject,
                    salts[u.row.subject],
                    self.at,
                    {"mailing": self.mailing.pk, "letter": number.shown(u.row.id), "faults": [list(f) for f in u.faults]},
                )
                for u in new
                if u.row.subject in salts
            )
            evidence.record_many(EventType.LETTER_REJECTED, events, actor=self.by, incident=self.mailing.incident)

    def _note(self, unfit: Sequence[Unfit]) -> None:
        self.rejects += [(number.shown(u.row.id), u.customer, *fault) for u in unfit for fault in u.faults]

    def _write_rejects(self) -> Path | None:
        """Write the rejects beside the folder, not into it: they are not for the print house."""
        if not self.rejects:
            return None
        file = self.folder.with_name(f"{self.folder.name}.rejects.csv")
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow(REJECTS)
            table.writerows([_cell(v) for v in row] for row in self.rejects)
        return file

    def _file(self, name: str, content: bytes) -> None:
        with os.fdopen(os.open(self.partial / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        self.sums.append((name, hashlib.sha256(content).hexdigest()))

    def _act(self, type_: EventType, body: dict[str, Any]) -> None:
        evidence.record(type_, at=self.at, actor=self.by, incident=self.mailing.incident, body=body)


def open_letters(mailing: int) -> Iterator[list[Row]]:
    """Yield the letters that wait, in lots; those that come while this runs wait for the next time."""
    until, after = Letter.objects.filter(mailing_id=mailing).aggregate(n=Max("pk"))["n"] or 0, 0
    while lot := sql.rows("notices", "letters_open", mailing=mailing, after=after, until=until, rows=ROWS):
        after = lot[-1][0]
        yield [_row(r) for r in lot]


def _row(r: Sequence[Any]) -> Row:
    return Row(r[0], r[1], r[2], r[3], r[4], r[5], r[6], tuple(r[7]), frozenset(map(bytes, r[8])), bytes(r[9] or b""))


def _numbered(mailing: int, numbers: Sequence[str]) -> list[int]:
    """Return the letters that these numbers name. Raises BadInput with every number that names none that was in a bundle."""
    read = {text: number.read(text) for text in dict.fromkeys(numbers)}
    there = set(
        Letter.objects.filter(mailing_id=mailing, state="bundled", pk__in=[n for n in read.values() if n]).values_list("pk", flat=True)
    )
    wrong = [text for text, n in read.items() if n not in there]
    if wrong:
        raise BadInput([f for text in wrong for f in BadInput.of("letter", text, "the number of a letter that was in a bundle").faults])
    return sorted(there)


def _manifest(bundle: Bundle, ready: Sequence[Ready], made: Made) -> bytes:
    lines = [",".join(MANIFEST)]
    for n, (one, (first, last)) in enumerate(zip(ready, made.spans, strict=True), 1):
        pages = last - first + 1
        cells = (number.shown(one.row.id), bundle.pk, n, first, last, pages, sheets_of(pages, duplex=bundle.duplex), one.to.country)
        lines.append(",".join(map(str, cells)))
    return ("\r\n".join(lines) + "\r\n").encode()


def _sender() -> list[str]:
    """Return the lines of the sender. Raises Refused where real letters would go out without an address to come back to."""
    current = config.current()
    lines = [line.strip() for line in current.letters.sender.splitlines() if line.strip()]
    if lines:
        return lines
    if current.estate.kind == "live":
        raise Refused("letters need an address to come back to: set [letters] sender in tocsin.toml")
    return [current.company.name, current.company.domain]


def _language(locale: str) -> str:
    try:
        return translation.get_supported_language_variant(locale.replace("_", "-").lower())
    except LookupError:
        return "en"


def _named(characters: set[str]) -> str:
    shown = sorted(characters)
    more = f" and {len(shown) - SHOWN_MAX} more" if len(shown) > SHOWN_MAX else ""
    return ", ".join(f"U+{ord(c):04X}" for c in shown[:SHOWN_MAX]) + more


def _cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _reading(mailing: int, stage: str, **more: Any) -> dict[str, Any]:
    return {"what": "letters", "mailing": mailing, "stage": stage, **more}


def _mailing(mailing: int) -> Mailing:
    found = Mailing.objects.filter(pk=mailing).first()
    if found is None:
        raise NotFound(f"no mailing {mailing}")
    if found.started_at is None:
        raise Refused(f"mailing {mailing} was not started: there is nobody to write to yet")
    return found


def _check_folder(folder: Path) -> None:
    if folder.exists():
        raise BadInput.of("folder", str(folder), "a new folder")
    if not folder.parent.is_dir():
        raise BadInput.of("folder", str(folder), "a new folder in one that exists")


@contextmanager
def _alone(mailing: int) -> Iterator[None]:
    """Let one export of a mailing run at a time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, mailing])
        if not cursor.fetchone()[0]:
            raise Refused(f"letters of mailing {mailing} are being written already; wait for it")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [LOCK, mailing])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
