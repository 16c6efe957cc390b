"""CPU time per signed message: our sender, journal on, against the RSA limit (`openssl speed rsa2048`) and smtplib with dkimpy.

`./run bench sender [--messages N] [--rounds N]`. All contestants send the same personal notice of about 4 KB to one sink in a process of
its
own; each round runs every contestant once, in turn. CPU is user + system time of the sender's process alone: wall-clock on a shared
machine is
noise. The limit is what OpenSSL itself needs for one RSA-2048 signature in the same round. Bar: limit / ours >= 0.80.
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
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--messages", type=int, default=3000)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    if not shutil.which("openssl"):
        raise SystemExit("openssl is needed for the limit; on Debian and Ubuntu: apt install openssl")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TOCSIN_HOME"], os.environ["TOCSIN_PROCESS"] = folder, "owner"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tocsin.settings"
        (Path(folder) / "tocsin.toml").write_text('[estate]\nkind = "drill"\n')
        import django

        django.setup()
        from tocsin.kernel.sealing import create_all

        create_all()
        sink = subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert sink.stdout is not None
        try:
            report(run(int(sink.stdout.readline()), Path(folder), chosen.messages, chosen.rounds), chosen.messages, chosen.rounds)
        finally:
            sink.terminate()
            sink.wait()


def run(port: int, home: Path, messages: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (CPU us per message, messages per second of wall-clock) of each contestant in each round."""
    contestants = {
        "tocsin, RSA-2048, journal": lambda: ours(port, home, messages),
        "tocsin, unsigned path": lambda: unsigned(port, home, messages),
        "smtplib, ready bytes": lambda: smtp_ready(port, messages),
        "smtplib + EmailMessage + dkimpy": lambda: smtp_dkimpy(port, home, max(30, messages // 100)),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ["openssl rsa2048 sign", *contestants]}
    for _ in range(rounds):
        limit = openssl_sign_us()
        results["openssl rsa2048 sign"].append((limit, 1e6 / limit))
        for name, contestant in contestants.items():
            results[name].append(measured(contestant))
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
    mine = [limit_ / c for (limit_, _), (c, _) in zip(results["openssl rsa2048 sign"], results["tocsin, RSA-2048, journal"], strict=True)]
    ratio = statistics.median(mine)
    peer = rows["smtplib + EmailMessage + dkimpy"]["cpu_us_median"] / rows["tocsin, RSA-2048, journal"]["cpu_us_median"]
    print(f"  share of the raw signing rate: {ratio:.3f} ({min(mine):.3f}-{max(mine):.3f}; bar 0.80)")
    print(f"  smtplib with dkimpy costs {peer:.1f} times as much")
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
                "ratio_to_openssl": round(ratio, 3),
                "times_cheaper_than_smtplib_dkimpy": round(peer, 1),
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
