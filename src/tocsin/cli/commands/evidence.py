"""`tocsin evidence`: verify the log from its files, prove one entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, NotFound

app_ = typer.Typer(no_args_is_help=True, help="The log: verify it, prove what stands in it.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="evidence", callback=load)


@app_.command()
def verify() -> None:
    """Re-derive the log's root from its files alone, without the database, and check the signed checkpoint."""
    from tocsin.evidence import queries

    found = queries.verify(config.home_from_environment())
    lines = [("leaves", f"{found.size:,}"), ("root", found.root), ("consistent", found.consistent)]
    lines += [("signed by", f"{s.name} ({s.kind}, key {s.key_id})") for s in found.signatures] + [("fault", f) for f in found.faults]
    output.emit(found, table=output.rows("The log, from its files", ("", ""), lines))
    if not found.consistent:
        raise typer.Exit(1)


@app_.command()
def prove(
    subject: Annotated[str, typer.Option(help="A customer: external id or e-mail address; proves the notice handed over to them.")] = "",
    entry: Annotated[int | None, typer.Option(help="The id of an entry.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
) -> None:
    """Write event.json, salt, leaf and the .tlog-proof of one entry: what an outsider needs to check it without us."""
    from tocsin.evidence import queries
    from tocsin.evidence.types import EventType

    if bool(subject) == (entry is not None):
        raise BadInput.of("command line", "both or neither of --subject and --entry", "one of them")
    with estate():
        salt = None
        if subject:
            person, salt = _customer(subject)
            entry = queries.newest_entry_of_subject(person, EventType.NOTICE_HANDED_OVER).id
        if entry is None:
            raise NotFound("no such entry")
        proof = queries.prove(entry, subject_salt=salt)
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "event.json": proof.event_json,
        "salt": proof.salt,
        "leaf": proof.leaf,
        f"{entry}.tlog-proof": proof.tlog_proof.encode(),
        "log.vkey": queries.vkeys(config.current().home)[0].encode() + b"\n",
    }
    for name, content in files.items():
        (out / name).write_bytes(content)
    output.emit({"entry": entry, "index": proof.index, "files": [str(out / name) for name in files]})


def _customer(reference: str) -> tuple[int, bytes]:
    """Return subject and salt of a customer; looking somebody up is an entry of its own."""
    from tocsin.evidence import actions
    from tocsin.evidence.types import EventType
    from tocsin.subjects import queries

    found = queries.by_email(reference) if "@" in reference else queries.by_external_ids([reference]).get(reference)
    if found is None:
        raise NotFound("no such customer in the register")
    actions.record(EventType.PERSONAL_DATA_READ, at=clock.now(), actor=actor(), body={"subject": found, "why": "proof of notification"})
    return found, queries.salts([found])[found]
