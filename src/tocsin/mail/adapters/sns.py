"""Amazon SES through Amazon SNS: bounces, complaints and delays, by HTTPS to the api process.

Every message is signed by SNS; anybody with an account can have SNS sign something, so the topic must be ours. The certificate is fetched
over HTTPS from the host of SNS alone and kept in memory; a subscription to our topic is confirmed by itself. A message that comes again
carries its first MessageId, and is recognised by it in the table of inbound mail.
Options: `topic` (the ARN of the topic that SES publishes to).
Source: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS messages"; Amazon SES developer guide, "Notification contents"
and "Event publishing contents"; RFC 3463.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tocsin.kernel.errors import BadInput, Fault, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.mail.types import FeedEvent, FeedReading

PORT = "mail feed"
BODY_BYTES_MAX = 300_000  # SNS: 256 KiB of message, and its envelope
CERTIFICATE_BYTES_MAX = 20_000
CERTIFICATES_MAX = 20
FETCH_S_MAX = 10.0
TEXT_CHARS_MAX = 1_000
TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]{3,30}:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
# The host of SNS in a region, of the public partitions and of China; nothing before it, no port, no user.
CERTIFICATE = re.compile(r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?/[A-Za-z0-9_.-]{1,200}\.pem")
CONFIRM = re.compile(r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?/\?Action=ConfirmSubscription&[A-Za-z0-9_.:=&%-]{1,2000}")
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_CODE = re.compile(r"\b([245]\d\d)\b")


class SnsFeed:
    """The port `mail.port.EventFeed` for SES."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._keys: dict[str, tuple[rsa.RSAPublicKey, datetime, datetime]] = {}
        self._lock = threading.Lock()

    @classmethod
    def configured(cls, name: str, options: Mapping[str, Any]) -> SnsFeed:
        """Return the feed of `[feeds.NAME]`."""
        faults = [Fault(f"feeds.{name}.{k}", repr(v)[:80], "adapter and topic only") for k, v in options.items() if k != "topic"]
        topic = options.get("topic")
        if not isinstance(topic, str) or not TOPIC.fullmatch(topic):
            faults.append(Fault(f"feeds.{name}.topic", repr(topic)[:80], "the ARN of an SNS topic"))
        if faults:
            raise BadInput(faults)
        return cls(str(topic))

    def read(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> FeedReading:
        """Return the events of one SNS message, and confirm the subscription if that is what it asks."""
        message = _message(body)
        if message["TopicArn"] != self._topic:
            raise Refused("the message is of another topic than the one configured")
        self._require_signature(message, at=at)
        if message["Type"] == "SubscriptionConfirmation":
            _confirm(message["SubscribeURL"])
            return FeedReading(1, ())
        if message["Type"] != "Notification":
            return FeedReading(1, ())
        events = tuple(_events(message, body, at=at))
        return FeedReading(max(1, len(events)), events)

    def _require_signature(self, message: Mapping[str, str], *, at: datetime) -> None:
        """Raise Refused unless SNS signed the message. Version 1 is SHA-1, version 2 SHA-256; SNS chooses by an attribute of the topic."""
        key, since, until = self._key(message["SigningCertURL"])
        if not since <= at <= until:
            raise Refused("the certificate of the signature is not valid now")
        parts = (f"{name}\n{message[name]}\n" for name in SIGNED[message["Type"]] if name in message)
        digest: hashes.HashAlgorithm = hashes.SHA256() if message["SignatureVersion"] == "2" else hashes.SHA1()  # noqa: S303
        try:
            key.verify(base64.b64decode(message["Signature"], validate=True), "".join(parts).encode(), padding.PKCS1v15(), digest)
        except (InvalidSignature, binascii.Error, ValueError):
            raise Refused("the signature is not that of Amazon SNS") from None

    def _key(self, url: str) -> tuple[rsa.RSAPublicKey, datetime, datetime]:
        if not CERTIFICATE.fullmatch(url):
            raise Refused("the certificate of the signature does not lie with Amazon SNS")
        with self._lock:  # one fetch at a time: whoever sends us many addresses waits for each
            if url not in self._keys:
                certificate = _certificate(_fetched(url))
                key = certificate.public_key()
                if not isinstance(key, rsa.RSAPublicKey):
                    raise Refused("the certificate of the signature holds no RSA key")
                while len(self._keys) >= CERTIFICATES_MAX:
                    self._keys.pop(next(iter(self._keys)))
                self._keys[url] = (key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)
            return self._keys[url]


def _message(body: bytes) -> dict[str, str]:
    if len(body) > BODY_BYTES_MAX:
        raise BadInput.of("body", f"{len(body)} bytes", f"at most {BODY_BYTES_MAX}")
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput.of("body", "no JSON", "a message of Amazon SNS") from None
    if not isinstance(raw, dict):
        raise BadInput.of("body", type(raw).__name__, "a message of Amazon SNS")
    message = {k: v for k, v in raw.items() if isinstance(v, str)}
    wanted = {"Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL"}
    wanted |= {n for n in SIGNED.get(message.get("Type", ""), ()) if n != "Subject"}
    faults = [Fault(n, "nothing" if n not in raw else type(raw[n]).__name__, "a text") for n in sorted(wanted) if n not in message]
    if "Type" in message and message["Type"] not in SIGNED:
        faults.append(Fault("Type", repr(message["Type"])[:80], f"one of {', '.join(SIGNED)}"))
    if message.get("SignatureVersion", "1") not in {"1", "2"}:
        faults.append(Fault("SignatureVersion", repr(message["SignatureVersion"])[:20], "1 or 2"))
    if faults:
        raise BadInput(faults)
    return message


def _fetched(url: str) -> bytes:
    try:
        with httpx.Client(timeout=FETCH_S_MAX, follow_redirects=False) as client, client.stream("GET", url) as response:
            if response.status_code != 200:
                raise Unavailable(PORT, f"Amazon SNS answers {response.status_code} for its certificate")
            octets = b""
            for piece in response.iter_bytes():
                octets += piece
                if len(octets) > CERTIFICATE_BYTES_MAX:
                    raise Refused("the certificate of the signature is too long")
            return octets
    except httpx.HTTPError as e:
        raise Unavailable(PORT, f"the certificate of Amazon SNS cannot be fetched: {type(e).__name__}") from None


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise Refused("the certificate of the signature cannot be read") from None


def _confirm(url: str) -> None:
    if not CONFIRM.fullmatch(url):
        raise Refused("the address to confirm the subscription at does not lie with Amazon SNS")
    try:
        with httpx.Client(timeout=FETCH_S_MAX, follow_redirects=False) as client:
            status = client.get(url).status_code
    except httpx.HTTPError as e:
        raise Unavailable(PORT, f"the subscription cannot be confirmed: {type(e).__name__}") from None
    if status != 200:
        raise Unavailable(PORT, f"Amazon SNS answers {status} to the confirmation")


def _events(message: Mapping[str, str], body: bytes, *, at: datetime) -> list[FeedEvent]:
    """Return what a notification of SES says, one event per recipient; nothing for deliveries, opens, and what is not from SES."""
    try:
        said = json.loads(message["Message"])
    except (ValueError, RecursionError):
        return []
    if not isinstance(said, dict) or not isinstance(said.get("mail"), dict):
        return []
    what = str(said.get("eventType") or said.get("notificationType"))
    sender = said["mail"].get("source")
    found: list[tuple[Any, str, str]] = []  # recipient, kind, words where the recipient has none of its own
    if what == "Bounce" and isinstance(part := said.get("bounce"), dict):
        found = [(r, "bounced", f"{part.get('bounceType', '')} {part.get('bounceSubType', '')}") for r in _list(part.get("bouncedRecipients"))]
    elif what == "Complaint" and isinstance(part := said.get("complaint"), dict):
        found = [(r, "complained", str(part.get("complaintFeedbackType") or "")) for r in _list(part.get("complainedRecipients"))]
    elif what == "DeliveryDelay" and isinstance(part := said.get("deliveryDelay"), dict):
        found = [(r, "delayed", str(part.get("delayType") or "")) for r in _list(part.get("delayedRecipients"))]
    elif what == "Reject" and isinstance(part := said.get("reject"), dict):
        found = [({"emailAddress": a}, "bounced", f"rejected by the relay: {part.get('reason', '')}") for a in _list(said["mail"].get("destination"))]
    return [_event(message, n, recipient, kind, words, sender=sender, body=body, at=at) for n, (recipient, kind, words) in enumerate(found)
            if isinstance(recipient, dict) and isinstance(sender, str)]


def _event(message: Mapping[str, str], n: int, recipient: Mapping[str, Any], kind: Any, words: str, *, sender: str, body: bytes,
           at: datetime) -> FeedEvent:
    diagnostic = str(recipient.get("diagnosticCode") or "")
    said = re.sub(r"^smtp; *", "", diagnostic, flags=re.IGNORECASE)
    status = _STATUS.fullmatch(str(recipient.get("status") or "").strip())
    code = _CODE.match(said)
    return FeedEvent(id=f"{message['MessageId']}/{n}", kind=kind, at=at, sender=sender, recipient=Private(str(recipient.get("emailAddress") or "")),
                     code=code[1] if code else "", enhanced=status.group(0) if status else "",
                     text=Private((said or words)[:TEXT_CHARS_MAX]), original=Private(body))


def _list(value: Any) -> Sequence[Any]:
    return value[:100] if isinstance(value, list) else ()
