"""Relays that tell of our mail: SNS with a signing key of its own, and a program that signs lines with a shared secret."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .authority import PEM, Authority
from .https_server import Connect, Https, Page

TOPIC = "arn:aws:sns:eu-west-1:123456789012:tocsin"
HOST = "sns.eu-west-1.amazonaws.com"
PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Sns:
    """Amazon's side: a signing certificate on an HTTPS server under SNS's own name, reached through a proxy."""

    def __init__(self, authority: Authority) -> None:
        self.signing = authority.make("sns.amazonaws.com", with_rsa=True)
        self.https = Https(authority.make(HOST).server)
        self.https.pages[HOST, PATH] = Page(self.signing.certificate.public_bytes(PEM))
        self.https.pages[HOST, "/"] = Page(b"<ConfirmSubscriptionResponse/>", content_type="text/xml")
        self.proxy = Connect(self.https.port)

    def close(self) -> None:
        self.proxy.close()
        self.https.close()

    def message(self, said: object, *, id_: str = "m-1", kind: str = "Notification", version: str = "2", **changes: str) -> dict[str, str]:
        """Return a signed message; `changes` are made before it is signed."""
        made = {
            "Type": kind,
            "MessageId": id_,
            "TopicArn": TOPIC,
            "Message": said if isinstance(said, str) else json.dumps(said),
            "Timestamp": "2026-11-24T09:00:00.000Z",
            "SignatureVersion": version,
            "SigningCertURL": f"https://{HOST}{PATH}",
        }
        if kind == "SubscriptionConfirmation":
            made |= {"Token": "t0k", "SubscribeURL": f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0k"}
        made |= changes
        text = "".join(f"{name}\n{made[name]}\n" for name in FIELDS[kind] if name in made)
        key = self.signing.key
        assert isinstance(key, rsa.RSAPrivateKey)
        digest: Any = hashes.SHA256() if made["SignatureVersion"] == "2" else hashes.SHA1()
        made["Signature"] = base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), digest)).decode()
        return made


def ses_bounce(sender: str, to: str = "anna@mailbox.example", *, permanent: bool = True) -> dict[str, Any]:
    """Return what SES says of a bounce. Shape: Amazon SES developer guide, examples of event records."""
    status, diagnostic = ("5.1.1", "smtp; 550 5.1.1 user unknown") if permanent else ("4.2.2", "smtp; 452 4.2.2 mailbox full")
    return {
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": "Permanent" if permanent else "Transient",
            "bounceSubType": "General" if permanent else "MailboxFull",
            "bouncedRecipients": [{"emailAddress": to, "action": "failed", "status": status, "diagnosticCode": diagnostic}],
            "timestamp": "2026-11-24T09:00:00.000Z",
            "feedbackId": "0100-f",
            "reportingMTA": "dsn; a1.smtp-out.eu-west-1.amazonses.com",
        },
        "mail": {"timestamp": "2026-11-24T08:59:00.000Z", "messageId": "0100-m", "source": sender, "destination": [to]},
    }


def ses_complaint(sender: str, to: str = "anna@mailbox.example") -> dict[str, Any]:
    """Return what SES says of a complaint."""
    return {
        "eventType": "Complaint",
        "complaint": {
            "complainedRecipients": [{"emailAddress": to}],
            "complaintFeedbackType": "abuse",
            "timestamp": "2026-11-24T09:00:00.000Z",
        },
        "mail": {"source": sender, "destination": [to]},
    }


def line(sender: str, to: str = "anna@mailbox.example", **changes: Any) -> dict[str, Any]:
    """Return one event of the generic feed."""
    made: dict[str, Any] = {
        "id": "e-1",
        "event": "bounced",
        "at": "2026-11-24T09:00:00+00:00",
        "from": sender,
        "to": to,
        "code": 550,
        "enhanced": "5.1.1",
        "reply": "user unknown",
    }
    return made | changes


def signed(secret: bytes, body: bytes, at_s: int) -> dict[str, str]:
    """Return the headers of the generic feed, made without our own code."""
    mac = hmac.new(secret, f"v1:{at_s}:".encode() + body, "sha256").hexdigest()
    return {"x-tocsin-timestamp": str(at_s), "x-tocsin-signature": f"v1={mac}"}
