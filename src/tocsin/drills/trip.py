"""One whole incident, from "a server was broken into" to "everybody told, every question answered, and all of it provable".

Start reading here. Each step calls the same public actions as the console and the command line, with real parts behind them; the figures it
returns are checked before the next step begins. The demo, every drill and the whole-incident test run this file.
"""

from __future__ import annotations

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_known
from tocsin.credentials.types import CLASSES
from tocsin.evidence import queries as evidence
from tocsin.incidents import actions as incidents
from tocsin.incidents import queries as incidents_known
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel import clock
from tocsin.kernel.clock import now
from tocsin.kernel.errors import ensure
from tocsin.notices import actions as notices
from tocsin.notices.types import Retry
from tocsin.obligations import actions as obligations
from tocsin.obligations import queries as laws
from tocsin.subjects import actions as subjects
from tocsin.support import actions as support
from tocsin.surge import actions as surge
from tocsin.surge import queries as surge_known

from . import crew, generator, people
from .drill import Drill
from .run import Figures

CANARIES = 5
RETAILER = ("entity.card_accepting_merchant",)  # what a shop is, of all that the laws ask a company about
FILED = "Filed through the agency's portal before the first message; a drill, so to nobody."
REBUILT = "Rebuilt from a clean image in another network; its keys and service passwords are new, and nothing reaches the old one any more."
RETRY = Retry(first_s=3.0, tries_max=5, soft_days=0.0)  # a drill does not wait 42 hours, or days, for a mailbox that stays full


def trip(drill: Drill) -> None:
    """Live through the incident, step by step."""
    step = drill.run.step
    step("team", "Enrol the response team", lambda: enrol(drill))
    step("customers", "Read the shop's customers", lambda: read_customers(drill))
    step("cards", "Move card numbers into the vault", lambda: move_cards(drill))
    step("map", "Load the data map", lambda: load_map(drill))
    step("declare", "Declare the incident", lambda: declare(drill))
    step("scope", "Freeze whose what was reachable", lambda: scope(drill))
    step("duties", "Find out whom to tell by when", lambda: assess(drill))
    step("forecast", "Forecast the surge", lambda: forecast(drill))
    step("contained", "Get the intruder out of the log-in", lambda: contain(drill))
    step("before", "Try old passwords", lambda: try_old_passwords(drill, accepted=True))
    step("cutover", "End every old credential", lambda: cut_over(drill))
    step("after", "Try old passwords again", lambda: try_old_passwords(drill, accepted=False))
    step("mailing", "Tell everybody", lambda: tell(drill))
    step("resets", "People set new passwords", lambda: reset(drill))
    step("letters", "People write in", lambda: write_in(drill))
    step("desk", "Answer every question", lambda: answer(drill))
    step("evidence", "Seal and verify the log", lambda: seal(drill))


def enrol(drill: Drill) -> Figures:
    """Enrol commander, counsel and the others, each with a key of their own, and the whole staff as drafted helpers of the desk."""
    return drill.enrol_team()


def read_customers(drill: Drill) -> Figures:
    """Make the shop's customers file and read it: personal data into the register, old password hashes into the credential store."""
    made = generator.write(
        drill.folder, customers=drill.customers, seed=drill.seed, bad=drill.scenario.drill.bad_rows, progress=drill.progress
    )
    report = subjects.import_file(made.customers_file, mapping=drill.mapping, at=now(), by=drill.by, progress=drill.progress)
    hashes = credentials.import_hashes(made.customers_file, at=now(), by=drill.by, progress=drill.progress)
    ensure(
        report.read == made.read and report.rejected == made.bad, f"{made.bad} of {made.read} rows are bad, {report.rejected} were rejected"
    )
    ensure(hashes.accepted == report.accepted, f"{report.accepted} people, but {hashes.accepted} old passwords")
    return {"read": report.read, "accepted": report.accepted, "rejected": report.rejected}


def move_cards(drill: Drill) -> Figures:
    """Let the vault's own process read the card numbers; only tokens and last four digits come back."""
    vault = drill.vault("import", drill.folder / "cards.csv", "--tokens", drill.folder / "tokens.csv")
    attached = subjects.attach_cards(drill.folder / "tokens.csv", store="orders", at=now(), by=drill.by)
    return {"cards": vault["accepted"], "attached": attached.accepted}


def load_map(drill: Drill) -> Figures:
    """Load the map of systems, stores and who can reach what: peacetime's work."""
    (drill.folder / "cards.csv").unlink(missing_ok=True)  # in the vault now, and nowhere else
    info = inventory.load_map([drill.scenario.datamap], at=now(), by=drill.by)
    return {"systems": info.systems, "stores": info.stores}


def declare(drill: Drill) -> Figures:
    """Declare: two people sign what is declared."""
    story, at = drill.scenario.story, drill.keep_instant("discovered_at")
    what = Declaration(name=story.name, cause=f"{story.cause}.", hosts=story.hosts, discovered_at=at)
    known = [i.id for i in incidents_known.incidents() if (i.name, i.discovered_at) == (what.name, at)]
    if known:
        return {"incident": known[0]}
    return {
        "incident": drill.approved(
            lambda approval: incidents.declare(what, approval=approval, at=now(), by="commander"), "commander", "legal"
        )
    }


def scope(drill: Drill) -> Figures:
    """Compute what the broken-into host reaches and what controls kept from it, and freeze who is affected."""
    exposure = incidents.scope(drill.incident, at=now(), by="commander")
    proved = [s.store for s in exposure.not_reached if s.proved]
    ensure("cards" in proved, "the card vault was not proved unreachable")
    return {
        "people": exposure.people,
        "cohorts": len(exposure.cohorts),
        "stores_reached": [s.store for s in exposure.reached],
        "stores_not_reached": [s.store for s in exposure.not_reached],
        "proved_unreached": proved,
    }


def assess(drill: Drill) -> Figures:
    """Compute the duties of the frozen cohorts under today's laws."""
    obligations.assess(drill.incident, at=now(), by="legal")
    for question in laws.assessment(drill.incident)["questions"]:
        if question["key"].startswith("entity."):  # what the laws ask about the company itself; a real one answers in peacetime
            obligations.answer(question["key"], question["key"] in RETAILER, incident=None, at=now(), by="legal")
    duties = obligations.assess(drill.incident, at=now(), by="legal")
    dated = [d.due_at for d in duties if d.due_at is not None]
    return {"triggered": len(duties), "dated": len(dated), "earliest_due_at": min(dated).isoformat() if dated else None}


def forecast(drill: Drill) -> Figures:
    """Forecast calls, letters and waits for the published 24 million, and what closing the phones does."""
    made = surge.forecast(drill.incident, drill.scenario.surge, at=now(), by="support-lead")
    open_lines = made.phone_if_open
    return {
        "calls": made.calls,
        "letters": round(made.letters.p50),
        "max_wait_s": round(made.max_wait_s.p50),
        "if_phones_were_open": {k: round(getattr(open_lines, k)) for k in ("offered", "served", "abandoned", "blocked")},
        "staff_hours": surge_known.staff_hours(drill.scenario.surge, made),
        "customers": drill.scenario.surge.customers,
    }


def contain(drill: Drill) -> Figures:
    """Determine, with two signatures each, that the reached systems which take passwords are out of the intruder's hands again."""
    for found in incidents_known.containment(drill.incident):
        if not found.contained:
            drill.approved(
                lambda approval, system=found.system: incidents.determine_containment(  # type: ignore[misc]
                    drill.incident, system=system, statement=REBUILT, approval=approval, at=now(), by="commander"
                ),
                "commander",
                "legal",
            )
    return {"systems": [f.system for f in incidents_known.containment(drill.incident) if f.contained]}


def try_old_passwords(drill: Drill, *, accepted: bool) -> Figures:
    """Have simulated customers sign in with their old passwords at the public site, over HTTP."""
    tried = people.try_logins(drill.people(drill.scenario.drill.logins), base_url=drill.public_url, threads=drill.scenario.drill.threads)
    ensure(tried.failed == 0, f"{tried.failed} sign-ins got no answer: {dict(tried.why)}")
    ensure((tried.accepted if accepted else tried.refused) == tried.tried, f"{tried.accepted} of {tried.tried} old passwords were accepted")
    return {"tried": tried.tried, "accepted": tried.accepted, "refused": tried.refused}


def cut_over(drill: Drill) -> Figures:
    """End every old password, session and reset link in one commit that two people signed; canaries prove it."""
    standing = credentials_known.status("customers")
    if standing.cutover is not None and standing.state in ("committed", "sealed"):  # a run that was cut off behind its commit
        return drill.cutover_found(standing)
    credentials.plant_canaries(CANARIES, at=now(), classes=CLASSES)
    armed = credentials.arm(incident=drill.incident, at=now(), by="identity")
    before = credentials.try_canaries(armed.id, at=now())
    ensure(before.refused == 0, "a canary was refused before the cutover")
    done = drill.approved(
        lambda approval: credentials.commit(armed.id, approval=approval, at=now(), by="identity"), "identity", "commander"
    )
    after = credentials.try_canaries(armed.id, at=now())
    ensure(after.accepted == 0, f"canaries that survived: {after.survivors}")
    drill.advance("contained")
    return {
        "commit_ms": done.commit_ms,
        "sealed_ms": done.sealed_ms,
        "epoch": done.epoch,
        "nodes": len(done.nodes),
        "canaries_refused": after.refused,
    }


def file_first(drill: Drill) -> None:
    """Record, with two signatures each, the filings that the law wants before people are told: their mails would wait for it."""
    for gate in laws.gates(drill.incident):
        if not gate.closed:
            drill.approved(
                lambda approval, gate=gate: obligations.close(  # type: ignore[misc]
                    drill.incident, law=gate.law, duty=gate.duty, state="done", text=FILED, approval=approval, at=now(), by="legal"
                ),
                "legal",
                "commander",
            )


def tell(drill: Drill) -> Figures:
    """Put the notice on the site, then mail it to everybody: approved by two people, sent by the workers over SMTP."""
    mailing = drill.mailing_found()
    if mailing is None:
        file_first(drill)
        notices.publish_site_notice(incident=drill.incident, template=drill.texts, at=now(), by="communications")
        notice = drill.run.keep(
            "notice", lambda: notices.draft(incident=drill.incident, template=drill.texts, at=now(), by="communications")
        )
        mailing = drill.approved(
            lambda approval: notices.start(notice, approval=approval, at=now(), by="communications", retry=RETRY), "communications", "legal"
        )
    drill.advance("notifying")
    figures = drill.wait_for_mailing(mailing)
    obligations.answer("event.individuals_notified", clock.iso(now()), incident=drill.incident, at=now(), by="legal")
    obligations.assess(drill.incident, at=now(), by="legal")  # clocks that run from telling people have started
    return figures


def reset(drill: Drill) -> Figures:
    """Simulated customers read the notice, ask for a link, follow it, set a new password and sign in with it."""
    wanted = drill.scenario.drill.resets(drill.customers)
    done = people.reset_all(
        drill.people(wanted), base_url=drill.public_url, office_url=drill.office_url, threads=drill.scenario.drill.threads,
        mail_wait_s=drill.scenario.drill.mail_wait_s,
    )  # fmt: skip
    return {
        "requested": done.requested,
        "completed": done.completed,
        "refused": done.refused,
        "no_mail": done.no_mail,
        "p99_ms": done.p99_ms,
    }


def write_in(drill: Drill) -> Figures:
    """Simulated customers write to the help address; the desk knows the vetted answers, and every letter must reach it."""
    support.load_answers(drill.answers, at=now(), by="support-lead")
    support.approve_answers(by="legal", at=now())
    return drill.write_letters()


def answer(drill: Drill) -> Figures:
    """Vetted answers to all who asked the same, after two people approved each; the rest one by one by drafted colleagues."""
    done = crew.work(
        home=drill.home,
        seed=drill.seed,
        clock=now,
        lead="support-lead",
        approvers=drill.keys("support-lead", "legal"),
        drafted=drill.drafted,
    )
    return drill.check_answers(done)


def seal(drill: Drill) -> Figures:
    """Wait until all of it stands under a signed checkpoint, verify the log from its files alone, and prove one customer's notification."""
    drill.wait("the log to be sealed", lambda: evidence.log_status().pending == 0)
    found = evidence.verify(drill.home)
    ensure(found.consistent, f"the log does not verify: {found.faults}")
    entries = evidence.log_status().entries
    return {
        "entries": entries,
        "checkpoint_size": found.size,
        "verified": found.consistent,
        "mailing": drill.mailing_figures(),
        **drill.prove_one(),
    }
