"""CPU time per message: our sender against the RSA limit (`openssl speed rsa2048`) and what else sends mail.

`./run bench sender [--messages N] [--rounds N]`. All contestants send the same personal notice of about 4 KB to one sink in a process of
its own; each round runs every contestant once, in turn. CPU is user + system time of the sender's process alone (neither sink nor
database): wall-clock on a shared machine is noise. The limit is what OpenSSL itself needs for one RSA-2048 signature in the same round.
Ours runs three times: whole blocks of a mailing as a worker sends them, receipts and an entry of the log for each recipient included; the
signing sender with its journal alone; the sender without building and signing.
Bars: limit / signed >= 0.80; unsigned <= 0.6 x smtp-source; signed >= 6 x nodemailer with DKIM in wall-clock.

Peers that are not installed are left out, and said so: Postfix's smtp-source (apt install postfix), nodemailer (needs node and npm) and
aiosmtplib are fetched into a temporary folder, or once into `--peers FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.mail_kill import World

ROOT = Path(__file__).parent.parent
TEXT = (
    """Dear {{name}},

on 15 January 2012 an intruder reached a server of ours. What could be read there: your name, your e-mail address, your billing and shipping
address, your phone number, the last four digits of your card and your password in scrambled form. Full card numbers are kept elsewhere and
were not reached.

What we did: your old password no longer works. What you can do: type the address of our shop into your browser, choose "password", and set
a new one. If you used the old password anywhere else, change it there too. This mail holds no link on purpose.

Your case code is {{code}}. Type it on our page "did you send this?" and it will tell you that we did.

"""
    + "We are sorry. Questions are answered by e-mail; our telephones are closed, because every one of us is writing answers.\n" * 5
)
HTML = "<html><body>" + "".join(f"<p>{p}</p>\n" for p in TEXT.split("\n\n")) + "</body></html>"
CONNECTIONS = 8
OURS, WHOLE, UNSIGNED = "tocsin, RSA-2048, journal", "tocsin, RSA-2048, journal, receipts, log", "tocsin, unsigned path"
SOURCE, NODE_DKIM = "smtp-source (C, no DKIM, connections kept)", "nodemailer, pooled, DKIM"
NODE_S_MAX = 600


def cpu() -> float:
    """Return the CPU seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def openssl_sign_us() -> float:
    """Return OpenSSL's own CPU time for one RSA-2048 signature, in microseconds."""
    done = subprocess.run(["openssl", "speed", "-seconds", "1", "rsa2048"], check=True, capture_output=True, text=True)
    found = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([\d.]+)", done.stdout)
    if not found:
        raise SystemExit(f"cannot read openssl's output: {done.stdout[-300:]}")
    return 1e6 / float(found[1])


def main() -> None:
    """Run the rounds and print the table; write bench/results/sender.json."""
    from bench import mail_kill

    arguments = argparse.ArgumentParser()
    arguments.add_argument("--messages", type=int, default=3000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--peers", type=Path)
    chosen = arguments.parse_args()
    if not shutil.which("openssl"):
        raise SystemExit("openssl is needed for the limit; on Debian and Ubuntu: apt install openssl")
    messages = max(1, chosen.messages // 1000) * 1000
    with tempfile.TemporaryDirectory() as folder, mail_kill.world(Path(folder), recipients=messages * chosen.rounds) as here:
        from tocsin.kernel import config

        peers = chosen.peers or Path(folder) / "peers"
        peers.mkdir(exist_ok=True)
        results = run(config.current().mail.relay_port, here, peers, messages, chosen.rounds)
    report(results, messages, chosen.rounds)


def run(port: int, here: World, peers: Path, messages: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (CPU us per message, messages per second of wall-clock) of each contestant in each round."""
    home = here.home
    few = max(200, messages // 10)
    inside = {
        OURS: lambda: ours(port, home, messages),
        WHOLE: lambda: whole(here.mailing, messages),
        UNSIGNED: lambda: unsigned(port, home, messages),
        "smtplib, ready bytes": lambda: smtp_ready(port, messages),
        "smtplib + EmailMessage + dkimpy": lambda: smtp_dkimpy(port, home, max(30, messages // 100)),
        "Django, no DKIM": lambda: django_mail(port, few),
    }
    if aiosmtplib_at(peers):
        inside["aiosmtplib, ready bytes, 8 connections"] = lambda: aio_ready(port, messages)
    outside: dict[str, Callable[[], tuple[float, float]]] = {}
    if shutil.which("smtp-source"):
        outside[SOURCE] = lambda: smtp_source(port, messages * 3)
    if nodemailer_at(peers):
        outside["nodemailer, pooled, no DKIM"] = lambda: nodemailer(port, peers, None, messages)
        outside[NODE_DKIM] = lambda: nodemailer(port, peers, home / "keys" / "dkim.key", max(500, messages // 3))
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ["openssl rsa2048 sign", *inside, *outside]}
    for _ in range(rounds):
        limit = openssl_sign_us()
        results["openssl rsa2048 sign"].append((limit, 1e6 / limit))
        for name, contestant in inside.items():
            results[name].append(measured(contestant))
        for name, stranger in outside.items():
            results[name].append(stranger())
    return results


def measured(contestant: Callable[[], int]) -> tuple[float, float]:
    """Return (CPU us per message, messages per second) of one run."""
    cpu_from, wall_from = cpu(), time.perf_counter()
    n = contestant()
    return (cpu() - cpu_from) / n * 1e6, n / (time.perf_counter() - wall_from)


def ours(port: int, home: Path, messages: int) -> int:
    """Send blocks of 1,000 as a worker does."""
    from tocsin.kernel.wiring import load
    from tocsin.mail import actions
    from tocsin.mail.types import BlockToSend, Pace, Recipient

    template = actions.compile_template(subject="Your data at Example Shop: please read", text=TEXT, html=HTML)
    relay = load("tocsin.mail.adapters.smtp.SmtpRelay")("127.0.0.1", port, helo="bench.example")
    sent = 0
    for block in range(messages // 1000):
        recipients = [
            Recipient(n, f"person{n}@mailbox.example", {"name": f"Person {n}", "code": f"AB{n:06}"}, f"1/{block}/{n}") for n in range(1000)
        ]
        outcomes = actions.send_block(
            BlockToSend(block, 1, [template], recipients, datetime.now(UTC)),
            transport=relay,
            pace=Pace(CONNECTIONS, 1000, 1e6),
            renew=lambda: None,
            stopped=lambda: False,
            home=home,
        )
        sent += sum(1 for o in outcomes if o.kind == "handed_over")
        actions.close_block(block, home)
    if sent != messages // 1000 * 1000:
        raise SystemExit(f"sent {sent}")
    return sent


def whole(mailing: int, messages: int) -> int:
    """Send blocks of a mailing as a worker does: claim, open the contacts, send, write receipt, states and the log."""
    from tocsin.kernel import clock
    from tocsin.notices import actions
    from tocsin.notices.models import Lane

    sent, at_lane = 0, 0
    lanes = list(Lane.objects.filter(mailing=mailing).order_by("pk").values_list("pk", flat=True))
    while sent < messages and at_lane < len(lanes):
        got = actions.send_next(mailing, lanes[at_lane], at=clock.now())
        sent += got
        at_lane += not got
    if sent != messages:
        raise SystemExit(f"the mailing gave {sent} of {messages}")
    return sent


def unsigned(port: int, home: Path, messages: int) -> int:
    """The engine and the journal alone, with ready content."""
    from tocsin.kernel.wiring import load
    from tocsin.mail.sender.journal import RunJournal, forget
    from tocsin.mail.types import Envelope, Pace

    content = ready()
    relay = load("tocsin.mail.adapters.smtp.SmtpRelay")("127.0.0.1", port, helo="bench.example")
    with RunJournal(home, block=999_999, attempt=1) as journal:
        envelopes = (Envelope(n, f"b+1.{n}.aaaaaaaaaa@bounce.example", f"person{n}@mailbox.example", content) for n in range(messages))
        outcomes = relay.deliver(envelopes, pace=Pace(CONNECTIONS, 1000, 1e6), journal=journal, renew=lambda: None, stopped=lambda: False)
        sent = sum(1 for _ in outcomes)
    forget(home, 999_999)
    return sent


def ready() -> bytes:
    """Return a finished content of the same size."""
    body = (TEXT + HTML).replace("\n", "\r\n")
    return f"From: a@b.example\r\nTo: p@mailbox.example\r\nSubject: x\r\nMessage-ID: <x@y>\r\n\r\n{body}\r\n.\r\n".encode()


def smtp_ready(port: int, messages: int) -> int:
    """The standard library's client with ready bytes: no building, no signing."""
    content = ready()[:-3]
    with smtplib.SMTP("127.0.0.1", port) as client:
        for n in range(messages):
            client.sendmail("a@bounce.example", [f"person{n}@mailbox.example"], content)
    return messages


def smtp_dkimpy(port: int, home: Path, messages: int) -> int:
    """What a Python program usually does: EmailMessage, dkimpy, smtplib."""
    import dkim

    pem = (home / "keys" / "dkim.key").read_bytes()
    with smtplib.SMTP("127.0.0.1", port) as client:
        for n in range(messages):
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "security@shop.example", f"person{n}@mailbox.example", "Your data: please read"
            mail["Message-ID"], mail["Date"] = f"<{n}@shop.example>", "Tue, 24 Nov 2026 09:00:00 +0000"
            mail.set_content(TEXT.replace("{{name}}", f"Person {n}").replace("{{code}}", f"AB{n}"))
            mail.add_alternative(HTML.replace("{{name}}", f"Person {n}").replace("{{code}}", f"AB{n}"), subtype="html")
            raw = mail.as_bytes().replace(b"\n", b"\r\n")
            client.sendmail("a@bounce.example", [f"person{n}@mailbox.example"], dkim.sign(raw, b"s", b"shop.example", pem) + raw)
    return messages


def django_mail(port: int, messages: int) -> int:
    """Django's mail over one connection, without a signature."""
    from django.core.mail import EmailMultiAlternatives
    from django.core.mail.backends.smtp import EmailBackend

    backend = EmailBackend(host="127.0.0.1", port=port)
    made = []
    for n in range(messages):
        text, html = (part.replace("{{name}}", f"Person {n}").replace("{{code}}", f"AB{n}") for part in (TEXT, HTML))
        mail = EmailMultiAlternatives("Your data: please read", text, "security@shop.example", [f"person{n}@mailbox.example"])
        mail.attach_alternative(html, "text/html")
        made.append(mail)
    return int(backend.send_messages(made) or 0)


def aiosmtplib_at(peers: Path) -> bool:
    """Fetch aiosmtplib if it is not there; return whether it can be used."""
    if not (peers / "aiosmtplib").exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-deps",
            "--target",
            str(peers),
            "aiosmtplib==5.1.3",
        ]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            print("  aiosmtplib could not be fetched: left out")
            return False
    sys.path.append(str(peers))
    return True


def aio_ready(port: int, messages: int) -> int:
    """The asyncio client with ready bytes over 8 connections."""
    import asyncio

    import aiosmtplib

    content = ready()[:-3]

    async def lane(first: int) -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        await client.connect()
        for n in range(first, messages, CONNECTIONS):
            await client.sendmail("a@bounce.example", [f"person{n}@mailbox.example"], content)
        await client.quit()

    async def main() -> None:
        await asyncio.gather(*(lane(first) for first in range(CONNECTIONS)))

    asyncio.run(main())
    return messages


def children_cpu() -> float:
    """Return the CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def smtp_source(port: int, messages: int) -> tuple[float, float]:
    """Postfix's load generator in C: contents of the same size, nothing built, nothing signed, connections kept open."""
    size = len(ready())
    cpu_from, wall_from = children_cpu(), time.perf_counter()
    command = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(size), "-f", "a@bounce.example"]
    subprocess.run([*command, "-t", "p@mailbox.example", f"127.0.0.1:{port}"], check=True, capture_output=True)
    return (children_cpu() - cpu_from) / messages * 1e6, messages / (time.perf_counter() - wall_from)


NODE = """
const nodemailer = require("nodemailer"), fs = require("fs");
const [port, n, key, text, html] = JSON.parse(process.argv[1]);
const dkim = key ? {domainName: "shop.example", keySelector: "s", privateKey: fs.readFileSync(key, "utf8")} : undefined;
const pool = nodemailer.createTransport({host: "127.0.0.1", port, pool: true, maxConnections: 8, maxMessages: Infinity, ignoreTLS: true, dkim});
const fill = (t, i) => t.replace("{{name}}", "Person " + i).replace("{{code}}", "AB" + i);
(async () => {
  const before = process.cpuUsage(), from = process.hrtime.bigint();
  let next = 0;
  const lane = async () => {
    while (next < n) {
      const i = next++;
      await pool.sendMail({from: "security@shop.example", to: `person${i}@mailbox.example`, subject: "Your data: please read",
                           text: fill(text, i), html: fill(html, i), envelope: {from: "a@bounce.example", to: `person${i}@mailbox.example`}});
    }
  };
  await Promise.all(Array.from({length: 16}, lane));
  const used = process.cpuUsage(before), wall = Number(process.hrtime.bigint() - from) / 1e9;
  console.log(JSON.stringify([(used.user + used.system) / n, n / wall]));
  pool.close();
})();
"""


def nodemailer_at(peers: Path) -> bool:
    """Fetch nodemailer if it is not there; return whether it can be used."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("  node and npm are not installed: nodemailer is left out")
        return False
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "nodemailer@10.6.0"]
    if not (peers / "node_modules").exists() and subprocess.run(command, cwd=peers, check=False, capture_output=True).returncode:
        print("  nodemailer could not be fetched: left out")
        return False
    return True


def nodemailer(port: int, peers: Path, key: Path | None, messages: int) -> tuple[float, float]:
    """What a Node program usually does; CPU from the first message on, without the start of Node."""
    given = json.dumps([port, messages, str(key) if key else None, TEXT, HTML])
    done = subprocess.run(["node", "-e", NODE, given], cwd=peers, check=True, capture_output=True, text=True, timeout=NODE_S_MAX)
    cpu_us, per_s = json.loads(done.stdout)
    return float(cpu_us), float(per_s)


def report(results: dict[str, list[tuple[float, float]]], messages: int, rounds: int) -> None:
    """Print the table and write the file."""
    rows = {}
    limit = statistics.median(c for c, _ in results["openssl rsa2048 sign"])
    print(f"{messages} messages, {rounds} rounds, CPU us per message (user + system of the sender)")
    for name, values in results.items():
        costs = [c for c, _ in values]
        middle, wall = round(statistics.median(costs), 1), round(statistics.median(w for _, w in values), 1)
        rows[name] = {
            "cpu_us_median": middle,
            "cpu_us_min": round(min(costs), 1),
            "cpu_us_max": round(max(costs), 1),
            "per_s_wall_median": wall,
        }
        print(f"  {name:34} median {middle:9.1f}  ({min(costs):.1f}-{max(costs):.1f})  wall {wall:9.1f}/s")
    figures: dict[str, float] = {}
    limits = [c for c, _ in results["openssl rsa2048 sign"]]
    for name, key in ((OURS, "ratio_to_openssl"), (WHOLE, "ratio_to_openssl_with_receipts_and_log")):
        mine = [limit_ / c for limit_, (c, _) in zip(limits, results[name], strict=True)]
        figures[key] = round(statistics.median(mine), 3)
        print(f"  {name}: share of the raw signing rate {figures[key]} ({min(mine):.3f}-{max(mine):.3f}; bar 0.80)")
    figures["times_cheaper_than_smtplib_dkimpy"] = round(
        rows["smtplib + EmailMessage + dkimpy"]["cpu_us_median"] / rows[OURS]["cpu_us_median"], 1
    )
    if SOURCE in rows:
        each = [u / c for (u, _), (c, _) in zip(results[UNSIGNED], results[SOURCE], strict=True)]
        figures["unsigned_to_smtp_source"] = round(statistics.median(each), 3)
        print(f"  unsigned path: {figures['unsigned_to_smtp_source']} of smtp-source's CPU (bar 0.6)")
    if NODE_DKIM in rows:
        walls = [mine_ / theirs for (_, mine_), (_, theirs) in zip(results[OURS], results[NODE_DKIM], strict=True)]
        figures["wall_to_nodemailer_dkim"] = round(statistics.median(walls), 1)
        figures["cpu_nodemailer_dkim_to_ours"] = round(rows[NODE_DKIM]["cpu_us_median"] / rows[OURS]["cpu_us_median"], 1)
        print(f"  {figures['wall_to_nodemailer_dkim']} times as fast as nodemailer with DKIM by the clock (bar 6)")
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    (folder / "sender.json").write_text(
        json.dumps(
            {
                "bench": "sender",
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": f"{os.cpu_count()} x {processor}",
                "load": os.getloadavg(),
                "python": platform.python_version(),
                "messages": messages,
                "rounds": rounds,
                "openssl_us": limit,
                **figures,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
