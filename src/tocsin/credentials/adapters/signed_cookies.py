"""Sessions in signed cookies, ended by a new key: Django's SECRET_KEY, Rails' secret_key_base.

The key stands in a file that the company's application reads (`key_file`, `key_format` raw or env, `variable`). `gate` writes a new one,
whole or not at all, keeps the old one sealed, and runs the company's reload command. There is no fallback: a settings module that lists the
old key under SECRET_KEY_FALLBACKS, or a Rails rotation, keeps old cookies alive, and the canaries show it.

Canaries are cookies made and checked by the application's own library: for Django `django.core.signing` in a process of its own with the
shop's settings; for Rails the authenticated encrypted cookie (AES-256-GCM, key by PBKDF2 with the salt `authenticated encrypted cookie`,
1,000 rounds), spelled here from the format and held to Ruby's ActiveSupport by the tests. With `door_url` the shop's own page decides, which
also sees a process that did not reload.

A new SECRET_KEY also ends Django's password reset links and everything else that the shop signs; with sessions in a database it ends them
too, since their hash is made with the key. Source: Django 5.2 django/contrib/sessions/backends/signed_cookies.py, django/core/signing.py;
Rails 7 ActionDispatch::Cookies, ActiveSupport::MessageEncryptor, ActiveSupport::Messages::Metadata.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets as randomness
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from tocsin.credentials.port import Finding, Presented, TargetCanary
from tocsin.kernel.errors import BadInput, Unavailable
from tocsin.kernel.private import Private

from ._files import ValueFile, new_key, run
from ._http import wanted
from ._keys import PLANT_MAX, KeyConnector
from .redis_sessions import shown_to_page

RAILS_SALT, RAILS_ROUNDS, RAILS_KEY_BYTES = b"authenticated encrypted cookie", 1000, 32
# Runs with the shop's Python and settings; what it is asked stands on its standard input, never in its arguments.
DJANGO = """
import json, os, sys
asked = json.load(sys.stdin)
sys.path.insert(0, asked["folder"])
os.environ["DJANGO_SETTINGS_MODULE"] = asked["settings"]
from django.conf import settings
from django.core import signing
SALT = "django.contrib.sessions.backends.signed_cookies"
if asked["what"] == "look":
    print(json.dumps({"fallbacks": len(settings.SECRET_KEY_FALLBACKS), "engine": settings.SESSION_ENGINE}))
elif asked["what"] == "make":
    print(json.dumps([signing.dumps({"tocsin": k}, salt=SALT, compress=True) for k in range(asked["n"])]))
else:
    try:
        signing.loads(asked["cookie"], salt=SALT, max_age=settings.SESSION_COOKIE_AGE)
        print(json.dumps(True))
    except signing.BadSignature:
        print(json.dumps(False))
"""


class Adapter(KeyConnector):
    """The port over one application's key."""

    kind = "signed-cookies"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"framework": str, "key_file": str, "cookie": str},
                       {"key_format": str, "variable": str, "reload": list, "door_url": str, "subjects": int, "python": str,
                        "settings_module": str, "shop_folder": str, "rails_digest": str})  # fmt: skip
        if taken["framework"] not in ("django", "rails"):
            raise BadInput.of("framework", taken["framework"], "`django` or `rails`")
        if taken["framework"] == "django" and not {"python", "settings_module", "shop_folder"} <= taken.keys():
            raise BadInput.of(
                "python", taken.get("python"), "python, settings_module and shop_folder of the shop, to make and check cookies"
            )
        if taken.get("rails_digest", "SHA256") not in ("SHA256", "SHA1"):
            raise BadInput.of("rails_digest", taken["rails_digest"], "`SHA256` (Rails 7 and later) or `SHA1`")
        # SHA-1 inside PBKDF2 is what Rails before 7 does with this key; we only follow it.
        self._rails_digest: hashes.HashAlgorithm = hashes.SHA256() if taken.get("rails_digest", "SHA256") == "SHA256" else hashes.SHA1()  # noqa: S303
        port = f"signed cookies {name}"
        file = ValueFile(taken["key_file"], taken.get("key_format", "raw"), taken.get("variable", "SECRET_KEY"), port)
        super().__init__(name, taken, secret, [file], port)

    def _findings(self) -> Sequence[Finding]:
        found = []
        if "door_url" not in self._options:
            found.append(
                Finding(
                    "note",
                    "canaries are checked with the key in the file: a process that did not reload is not seen",
                    "name a page as door_url",
                )
            )
        if self._options["framework"] == "django":
            told = self._django("look")
            if told["fallbacks"]:
                found.append(Finding("blocker", f"SECRET_KEY_FALLBACKS holds {told['fallbacks']} keys: cookies of an old key live on",
                                     "empty the list"))  # fmt: skip
            if not told["engine"].endswith("signed_cookies"):
                found.append(Finding("warning", f"sessions are in {told['engine']}: the new key ends them through their hash, not the store",
                                     "end the store as well, with its own connector"))  # fmt: skip
        found.append(
            Finding("warning", "everything else that is signed with this key ends too: reset links, invitations, remembered forms")
        )
        return found

    def _fresh(self, old: Sequence[str]) -> Sequence[str]:
        return [new_key()]

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Sign cookies of ours with the key that is in force."""
        if not 1 <= n <= PLANT_MAX:
            raise BadInput.of("n", n, f"1 to {PLANT_MAX} canaries")
        if self._options["framework"] == "django":
            cookies = [str(cookie) for cookie in self._django("make", n=n)]
        else:
            cookies = [self._rails_make({"session_id": randomness.token_hex(16)}) for _ in range(n)]
        return [TargetCanary(f"canary-{randomness.token_hex(6)}", "canary", {"session": Private(cookie)}) for cookie in cookies]

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Show the cookie to the shop's page, or to its library with the key in force."""
        if canary.account in self._marks.get().get("uprooted", []):
            return [Presented(canary.account, "session", False, "uprooted")]
        cookie = canary.secrets["session"]
        if "door_url" in self._options:
            accepted, detail = shown_to_page(self._options["door_url"], self._options["cookie"], cookie, self._port)
        else:
            accepted = (
                bool(self._django("check", cookie=cookie.reveal())) if self._options["framework"] == "django" else self._rails_opens(cookie)
            )
            detail = "the signature holds" if accepted else "the signature does not hold"
        return [Presented(canary.account, "session", accepted, detail)]

    def _django(self, what: str, **more: Any) -> Any:
        asked = {"what": what, "folder": self._options["shop_folder"], "settings": self._options["settings_module"], **more}
        self._files[0].get()  # a missing key file is named before the shop's own settings fail over it
        told = run(
            [self._options["python"], "-c", DJANGO],
            self._port,
            "the shop's settings",
            given=json.dumps(asked),
            cwd=self._options["shop_folder"],
        )
        try:
            return json.loads(told)
        except ValueError as e:
            raise Unavailable(self._port, "the shop's settings print something of their own") from e

    def _rails_key(self) -> bytes:
        return PBKDF2HMAC(self._rails_digest, RAILS_KEY_BYTES, RAILS_SALT, RAILS_ROUNDS).derive(self._files[0].get().encode())

    def _rails_make(self, session: Mapping[str, Any]) -> str:
        """cookie := base64(ciphertext) "--" base64(iv, 12 bytes) "--" base64(tag, 16 bytes), percent-encoded; plaintext: an envelope in JSON."""
        message = base64.b64encode(json.dumps(session).encode()).decode()
        envelope = {"_rails": {"message": message, "exp": None, "pur": f"cookie.{self._options['cookie']}"}}
        iv = os.urandom(12)
        sealed = AESGCM(self._rails_key()).encrypt(iv, json.dumps(envelope).encode(), b"")
        return quote("--".join(base64.b64encode(part).decode() for part in (sealed[:-16], iv, sealed[-16:])), safe="")

    def _rails_opens(self, cookie: Private[str]) -> bool:
        try:
            text, iv, tag = (base64.b64decode(part, validate=True) for part in unquote(cookie.reveal()).split("--"))
            envelope = json.loads(AESGCM(self._rails_key()).decrypt(iv, text + tag, b""))
            return bool(envelope["_rails"]["pur"] == f"cookie.{self._options['cookie']}")
        except (ValueError, binascii.Error, InvalidTag, KeyError, TypeError):
            return False
