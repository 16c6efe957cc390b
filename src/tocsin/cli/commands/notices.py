"""`tocsin notice`: draft, check, preview, start, hold, and follow a mailing."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.markup import escape

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput

if TYPE_CHECKING:
    from tocsin.notices.types import MailingStatus

FOLLOW_S = 1.0
app_ = typer.Typer(no_args_is_help=True, help="Approved texts and their mailings.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="notice", callback=load)


@app_.command()
def draft(folder: Path, incident: Annotated[int, typer.Option(help="The incident it is about.")]) -> None:
    """Store a notice from a folder: notice.toml, and the texts it names (plain text, MJML or HTML)."""
    from tocsin.notices import actions

    with estate():
        output.emit({"notice": actions.draft(incident=incident, template=folder, at=clock.now(), by=actor())})


@app_.command()
def check(notice: int) -> None:
    """Run the gates over a notice's texts; hard findings keep it from being sent."""
    from tocsin.notices import actions

    with estate():
        found = actions.check(notice)
    lines = [("hard" if f.hard else "soft", f.variant, f.gate, f.message, f.remedy) for f in found]
    output.emit(found, table=output.rows(f"{len(found)} finding(s)", ("", "variant", "gate", "what", "remedy"), lines))
    if any(f.hard for f in found):
        raise typer.Exit(3)


@app_.command()
def preview(
    notice: int,
    jurisdiction: Annotated[str, typer.Option(help="What a reader there gets, as in US-MA or CA-QC.")] = "",
    language: Annotated[str, typer.Option(help="The reader's language; without it, one whose language nobody knows.")] = "",
    element: Annotated[list[str] | None, typer.Option(help="A kind of data that was reached of them; may be given several times.")] = None,
    person: Annotated[str, typer.Option(help="What one customer would read, by the company's own number. Recorded.")] = "",
    reveal: Annotated[bool, typer.Option("--reveal", help="With --person: name and number in clear.")] = False,
) -> None:
    """Show each text as a made-up customer would read it; or what one cohort, or one customer, gets."""
    from tocsin.kernel.errors import BadInput
    from tocsin.notices import actions, queries

    if person and (jurisdiction or language or element):
        raise BadInput.of("--person", person, "a person, or a jurisdiction with a language, not both")
    with estate():
        if person:
            found = [actions.preview_person(notice, external_id=person, reveal=reveal, at=clock.now(), by=actor())]
        elif jurisdiction or language or element:
            found = [queries.preview_cohort(notice, jurisdiction=jurisdiction or "ZZ", locale=language, elements=element or ())]
        else:
            found = queries.preview(notice)
    pages = [
        f"{p.variant} ({p.locale}){': ' + p.why if p.why else ''}\n\nSubject: {p.subject}\n\n{p.text}\n({p.words} words, grade {p.grade:.1f})"
        for p in found
    ]
    output.emit(found, table=escape("\n\n".join(pages)))


@app_.command()
def languages(notice: int) -> None:
    """Show the languages of a notice, and who has signed each translation."""
    from tocsin.notices import queries

    with estate():
        found = queries.languages(notice)
    lines = [
        (x.locale, ", ".join(x.variants), "its own" if not x.needs_review else x.reviewed_by or "nobody yet", x.waiting or "", x.sha256[:16])
        for x in found
    ]
    output.emit(found, table=output.rows(f"Notice {notice}", ("language", "texts", "read and signed by", "approval waiting", "digest"), lines))


@app_.command()
def review(
    notice: int,
    language: Annotated[str, typer.Option(help="The translation that was read.")],
    reviewer: Annotated[str, typer.Option(help="The operator who read it; not the one who drafted the notice.")],
    approval: Annotated[int | None, typer.Option(help="The approval that the reviewer has signed.")] = None,
) -> None:
    """Record who has read a translation. The first call asks for the reviewer's signature over exactly these texts and exits 3."""
    from tocsin.notices import actions

    with estate():
        output.emit(actions.review(notice, locale=language, reviewer=reviewer, approval=approval, at=clock.now(), by=actor()))


@app_.command("test-send")
def send_test(
    notice: int,
    to: Annotated[list[str], typer.Option(help="A seed address of the team; may be given several times.")],
    variant: Annotated[list[str] | None, typer.Option(help="A text by its key or language; default: all.")] = None,
) -> None:
    """Mail a notice to seed addresses, marked as a test. No mailing counts these; `notice tests` shows how they ended."""
    from tocsin.notices import actions

    with estate():
        sent = actions.send_test(notice, to=to, variants=variant or (), at=clock.now(), by=actor())
    output.emit(sent, table=f"{len(sent)} test mail(s) queued: {', '.join(dict.fromkeys(t.variant for t in sent))}")


@app_.command()
def tests(notice: int) -> None:
    """Show the test mails of a notice and how they ended."""
    from tocsin.notices import queries

    with estate():
        found = queries.tests(notice)
    lines = [(t.id, t.variant, t.state, t.code or "", t.reason, f"{t.queued_at:%Y-%m-%d %H:%M}", t.queued_by) for t in found]
    output.emit(found, table=output.rows(f"Test mails of notice {notice}", ("id", "text", "state", "code", "reason", "queued", "by"), lines))


@app_.command()
def approve(
    notice: int,
    key: Annotated[Path, typer.Option(help="The operator's key file, NAME.key.")],
    name: Annotated[str, typer.Option(help="The operator; default: the file's name.")] = "",
) -> None:
    """Sign the start of a notice: over its texts, languages, reviewers, recipients and counts. It starts when two people have signed."""
    from tocsin.notices import actions
    from tocsin.staff import queries

    with estate():
        signed = actions.approve(notice, operator=name or key.stem, key_file=key, at=clock.now())
        output.emit(queries.approval(signed))


@app_.command()
def start(
    notice: int,
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None,
    waves: Annotated[bool, typer.Option("--waves", help="Among equal deadlines, tell those first who used the service last.")] = False,
    deadline: Annotated[str, typer.Option(help="By when all must be told, ISO 8601; otherwise the earliest day of the law.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count by language, provider and channel what a start would send; send nothing.")] = False,
) -> None:
    """Freeze the recipients and send. The first call asks for the approval of exactly that and exits 3."""
    from tocsin.notices import actions, queries

    with estate():
        if not dry_run:
            until = instant("deadline", deadline) if deadline else None
            mailing = actions.start(notice, approval=approval, at=clock.now(), by=actor(), waves=waves, deadline_at=until)
            begun = queries.status(mailing)
            said = [f"Mailing {mailing} is {begun.state}: {begun.recipients:,} recipients", *(f"{a.words}: {a.remedy}" for a in begun.alerts)]
            output.emit({"mailing": mailing, "recipients": begun.recipients, "locked": begun.locked}, table="\n".join(said))
            return
        found = queries.start_counts(notice)
    lines = [(k, v) for k, v in output.plain(found).items() if not k.startswith("by_") and k != "languages"]
    lines += [(f"language {k}", v) for k, v in found.by_language.items()] + [(f"text {k}", v) for k, v in found.by_variant.items()]
    lines += [("by mail", found.by_mail), *((f"provider {k}", v) for k, v in found.by_provider.items())]
    lines += [(f"translation {x.locale}", x.reviewed_by or "nobody has signed it") for x in found.languages if x.needs_review]
    output.emit(found, table=output.rows(f"What a start of notice {notice} would do", ("", ""), lines))


@app_.command()
def site(
    notice: int,
    out: Annotated[Path | None, typer.Option(help="A folder for the pages, to put on any web server or CDN.")] = None,
    verify: Annotated[str, typer.Option(help="The address where they stand: fetch every page and compare. Recorded.")] = "",
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed, where no mailing was approved.")] = None,
) -> None:
    """Write a notice as static pages; or look whether they stand at an address as written; or, with neither, show the proof of posting."""
    from tocsin.notices import actions, queries

    with estate():
        if out is not None:
            output.emit(actions.write_pages(notice, folder=out, approval=approval, at=clock.now(), by=actor()))
        if verify:
            seen = actions.verify_site(notice, url=verify, at=clock.now(), by=actor())
            lines = [(x.path, "as written" if x.ok else x.found, x.sha256[:16]) for x in seen]
            output.emit(seen, table=output.rows(f"Notice {notice} at {verify}", ("page", "found", "SHA-256"), lines))
            if not all(x.ok for x in seen):
                raise typer.Exit(6)
        if out is None and not verify:
            output.emit(queries.posting(notice))


@app_.command()
def statements(
    notice: int,
    out: Annotated[Path, typer.Option(help="A folder for press statement and memo to staff, as text and HTML.")],
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed, where no mailing was approved.")] = None,
) -> None:
    """Write the press statement and the memo to staff that stand under a notice's signatures."""
    from tocsin.notices import actions

    with estate():
        output.emit(actions.write_statements(notice, folder=out, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def outdated(incident: int) -> None:
    """List every notice and site notice that says what a later fact no longer says."""
    from tocsin.notices import queries

    with estate():
        found = queries.outdated(incident)
    lines = [(f"{x.what} {x.id}", x.key, x.said, x.now or "(no longer public)") for x in found]
    output.emit(found, table=output.rows(f"Wrong since a later fact, incident {incident}", ("what", "fact", "says", "holds now"), lines))


@app_.command()
def pause(mailing: int, why: str = "") -> None:
    """Hold a mailing; senders stop within a second."""
    from tocsin.notices import actions

    with estate():
        actions.pause(mailing, at=clock.now(), by=actor(), why=why)
    _status(mailing)


@app_.command()
def stop(mailing: int, why: str = "") -> None:
    """Stop a mailing because something is wrong with it; senders stop within a second."""
    from tocsin.notices import actions

    with estate():
        actions.stop(mailing, at=clock.now(), by=actor(), why=why)
    _status(mailing)


@app_.command()
def resume(mailing: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Go on with a held mailing."""
    from tocsin.notices import actions

    with estate():
        actions.resume(mailing, approval=approval, at=clock.now(), by=actor())
    _status(mailing)


@app_.command("release-lane")
def release_lane(lane: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Let a lane go on that stopped because too many of its addresses failed."""
    from tocsin.notices import actions

    with estate():
        actions.release_lane(lane, approval=approval, at=clock.now(), by=actor())
    output.emit({"lane": lane, "released": True})


@app_.command("allow-late")
def allow_late(
    mailing: int,
    until: Annotated[str, typer.Option(help="Until when it may last, ISO 8601.")],
    why: Annotated[str, typer.Option(help="The reason, which both people sign.")],
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None,
) -> None:
    """Let a mailing end after its legal deadline; its pace is held to the later end from then on."""
    from tocsin.notices import actions

    with estate():
        actions.allow_late(mailing, until=instant("until", until), why=why, approval=approval, at=clock.now(), by=actor())
    _status(mailing)


@app_.command("override-order")
def override_order(
    mailing: int,
    gate: Annotated[str, typer.Argument(help="The filing that people wait for, LAW.DUTY as `notice status` names it.")],
    why: Annotated[str, typer.Option(help="The reason, which both people sign.")],
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None,
) -> None:
    """Tell people before a filing that the law wants first."""
    from tocsin.notices import actions

    with estate():
        actions.override_order(mailing, gate=gate, why=why, approval=approval, at=clock.now(), by=actor())
    _status(mailing)


@app_.command()
def letters(
    mailing: int,
    out: Annotated[Path | None, typer.Option(help="A new folder for the print house.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count by country, pages and price; write nothing.")] = False,
    again: Annotated[list[int] | None, typer.Option(help="A bundle to write once more, the same bytes; may be given again.")] = None,
    reissue: Annotated[list[str] | None, typer.Option(help="A letter to put into a new bundle, as in L123-0; may be given again.")] = None,
) -> None:
    """Write the letters of those whom no mail reached into bundles: PDF, list and checksums."""
    from tocsin.kernel.errors import BadInput
    from tocsin.notices import actions

    if (out is None) != dry_run:
        raise BadInput.of("--out, --dry-run", "both or none", "a folder, or --dry-run")
    with estate(), output.meter("letters") as progress:
        if out is None:
            found = actions.letters_estimate(mailing, at=clock.now(), by=actor(), progress=progress)
        else:
            found = actions.letters(
                mailing, folder=out, at=clock.now(), by=actor(), again=again or (), reissue=reissue or (), progress=progress
            )
    output.emit(found, table=output.rows("Letters", ("", ""), list(output.plain(found).items())))


@app_.command()
def returned(file: Path, rejects: Annotated[Path | None, typer.Option(help="Where bad lines go.")] = None) -> None:
    """Take in a list of returned mail (CSV: letter_id, reason, date): the next known address, or the substitute notice."""
    from tocsin.notices import actions

    with estate():
        found = actions.letters_returned(file, at=clock.now(), by=actor(), rejects=rejects)
    output.emit(found, table=output.rows("Returned mail", ("", ""), list(output.plain(found).items())))


@app_.command()
def status(
    mailing: int,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show progress until the mailing has ended or is held; then the status.")
    ] = False,
) -> None:
    """Show a mailing: every recipient in exactly one place, each lane, and what wants a person."""
    if follow:
        _follow(mailing)
    _status(mailing)


def instant(option: str, text: str) -> datetime:
    """Return an option's instant, in UTC if it names no zone. Raises BadInput."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput.of(f"--{option}", text, "an instant in ISO 8601, as in 2026-11-30T18:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _follow(mailing: int) -> None:
    from tocsin.notices import queries
    from tocsin.notices.types import MailingState

    with estate():
        found = queries.status(mailing)
        with output.meter(f"mailing {mailing}", total=found.recipients) as say:
            while found.state == MailingState.SENDING:
                say(found.recipients - found.waiting - found.deferred)
                time.sleep(FOLLOW_S)
                found = queries.status(mailing)


def _status(mailing: int) -> None:
    from tocsin.notices import queries

    with estate():
        found = queries.status(mailing)
    output.emit(found, table=_table(found))


def _table(found: MailingStatus) -> Group:
    """Return what people see: the whole, its lanes, what wants them."""
    shown = output.plain(found)
    whole = [(k, v if v is not None else "-") for k, v in shown.items() if k not in ("lanes", "alerts", "locked")]
    lanes = [
        (
            x.provider,
            f"{x.handed_over:,}",
            f"{x.waiting:,}",
            f"{x.deferred:,}",
            f"{x.bounced:,}",
            f"{x.letters:,}",
            f"{x.rate_per_s:.1f}",
            f"{x.connections_open}/{x.connections}",
            f"{x.eta_at:%b %d %H:%M}" if x.eta_at and x.waiting else "-",
            "stopped" if x.broken else "" if x.held_rate_per_s is None else "paused" if x.held_rate_per_s == 0 else "slowed",
        )
        for x in found.lanes
    ]
    heads = ("lane", "told", "waiting", "deferred", "bounced", "letters", "per s", "conn.", "done about", "")
    alerts = [(a.level, a.words, a.remedy) for a in found.alerts]
    parts = [output.rows(f"Mailing {found.mailing}", ("", ""), whole), output.rows("Lanes", heads, lanes)]
    return Group(*parts, *([output.rows("What wants a person", ("", "what", "to do"), alerts)] if alerts else []))
