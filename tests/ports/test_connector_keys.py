"""Sessions in signed cookies and in JWT: the promises of a connector against Django's and Rails' own libraries and PyJWT."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tocsin.credentials.port import Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable

from .connector_suite import *  # noqa: F403  the promises themselves
from .connector_suite import AT, PEOPLE, all_open, make, none_opens, said

OLD_KEY = "the-old-key-of-the-shop-" + "k" * 60
SEAL = "what-the-connector-seals-with"
# A shop's own process of the real kind: it reads its key file anew for each line, as a reloaded process does, and answers yes or no.
DJANGO_SHOP = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
for line in sys.stdin:
    asked = json.loads(line)
    settings.SECRET_KEY = open(os.path.join(sys.argv[1], "key")).read().strip()
    if "make" in asked:
        store = SessionStore()
        store["person"] = asked["make"]
        store.save()
        answer = store.session_key
    else:
        answer = SessionStore(asked["check"]).load() != {}
    print(json.dumps(answer), flush=True)
"""
RAILS_SHOP = """
require "json"
require "openssl"
require "active_support"
require "active_support/message_encryptor"
require "active_support/messages/metadata"
require "active_support/json"
STDIN.each_line do |line|
  asked = JSON.parse(line)
  secret = File.read(File.join(ARGV[0], "key")).strip
  key = OpenSSL::KDF.pbkdf2_hmac(secret, salt: "authenticated encrypted cookie", iterations: 1000, length: 32, hash: ARGV[1])
  box = ActiveSupport::MessageEncryptor.new(key, cipher: "aes-256-gcm", serializer: ActiveSupport::MessageEncryptor::NullSerializer)
  if asked["make"]
    answer = box.encrypt_and_sign(JSON.generate({ "person" => asked["make"] }), purpose: "cookie._shop_session")
  else
    text = begin
      box.decrypt_and_verify(asked["check"].gsub(/%([0-9A-Fa-f]{2})/) { $1.hex.chr }, purpose: "cookie._shop_session")
    rescue ActiveSupport::MessageEncryptor::InvalidMessage
      nil
    end
    answer = !text.nil?
  end
  puts JSON.generate(answer)
  STDOUT.flush
end
"""


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("TOCSIN_NO_SKIPS"):
            pytest.fail(f"{program} is missing: apt install {package}")
        pytest.skip(f"apt install {package}")


class KeyShop:
    """Thirty sessions whose cookies the real library made."""

    secret = SEAL
    takes_passwords = False
    drains = False
    seconds_matter = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.people: Mapping[str, str] = {}
        self.away: list[Path] = []

    def key_files(self) -> list[Path]:
        return [self.folder / "key"]

    def change(self, account: str, secret: str) -> None:
        raise AssertionError("no passwords here")

    def stop(self) -> None:
        for path in self.key_files():
            self.away.append(path.rename(path.with_suffix(".away")))

    def start(self) -> None:
        for path, away in zip(self.key_files(), self.away, strict=True):
            away.rename(path)
        self.away = []


class CookieShop(KeyShop):
    def __init__(self, folder: Path, framework: str, digest: str = "SHA256") -> None:
        super().__init__(folder)
        self.framework, self.digest = framework, digest
        (folder / "key").write_text(OLD_KEY + "\n")
        (folder / "key").chmod(0o640)
        (folder / "shop_settings.py").write_text(
            "import pathlib\nSECRET_KEY = pathlib.Path(__file__).with_name('key').read_text().strip()\nSECRET_KEY_FALLBACKS = []\n"
            "SESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'\nINSTALLED_APPS = ['django.contrib.sessions']\n"
        )
        (folder / "shop.py").write_text(DJANGO_SHOP)
        (folder / "shop.rb").write_text(RAILS_SHOP)
        command = (
            [sys.executable, str(folder / "shop.py"), str(folder)]
            if framework == "django"
            else ["ruby", str(folder / "shop.rb"), str(folder), digest]
        )
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.people = {f"person{k}": str(self.ask({"make": k + 1})) for k in range(PEOPLE)}

    def ask(self, what: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def opens(self, account: str, secret: str) -> bool:
        return bool(self.ask({"check": secret}))

    def connector(self, **more: Any) -> Connector:
        options: dict[str, Any] = {"framework": self.framework, "key_file": str(self.folder / "key"), "cookie": "_shop_session", "subjects": PEOPLE,
                                   "reload": ["true"]}  # fmt: skip
        if self.framework == "django":
            options |= {"python": sys.executable, "settings_module": "shop_settings", "shop_folder": str(self.folder)}
        else:
            options["rails_digest"] = self.digest
        return make("tocsin.credentials.adapters.signed_cookies.Adapter", {**options, **more}, SEAL)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class TokenShop(KeyShop):
    """An issuer with an RSA key, a set published over HTTP, and PyJWT as the relying party."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        key = rsa.generate_private_key(65537, 2048)
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "2019", "use": "sig", "alg": "RS256"}
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))
        (folder / "signing.json").write_text(json.dumps({"kid": "2019", "alg": "RS256", "private_key": pem}))

        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        self.people = {f"person{k}": self.issue(f"person{k}") for k in range(PEOPLE)}

    def key_files(self) -> list[Path]:
        return [self.folder / "jwks.json", self.folder / "signing.json"]

    def issue(self, subject: str) -> str:
        signer = json.loads((self.folder / "signing.json").read_text())
        claims = {"sub": subject, "exp": int(time.time()) + 3600}
        return jwt.encode(claims, signer["private_key"], algorithm=signer["alg"], headers={"kid": signer["kid"]})

    def relying_party(self, lifespan: float = 1.0) -> jwt.PyJWKClient:
        return jwt.PyJWKClient(self.url, cache_jwk_set=lifespan > 0, lifespan=max(lifespan, 1))

    def verifies(self, party: jwt.PyJWKClient, token: str) -> bool:
        try:
            jwt.decode(token, party.get_signing_key_from_jwt(token).key, algorithms=["RS256", "ES256"])
        except jwt.PyJWTError:
            return False
        return True

    def opens(self, account: str, secret: str) -> bool:
        return self.verifies(self.relying_party(0), secret)

    def connector(self, **more: Any) -> Connector:
        options = {"jwks_file": str(self.folder / "jwks.json"), "signing_file": str(self.folder / "signing.json"), "jwks_url": self.url,
                   "subjects": PEOPLE, "cache_s": 300}  # fmt: skip
        return make("tocsin.credentials.adapters.jwt_kid.Adapter", {**options, **more}, SEAL)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(params=["django", "rails", "rails-sha1", "jwt"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyShop]:
    kind = request.param
    if kind.startswith("rails"):
        need("ruby", "ruby-activesupport")
    shop = (
        TokenShop(tmp_path)
        if kind == "jwt"
        else CookieShop(tmp_path, kind.partition("-")[0], "SHA1" if kind.endswith("sha1") else "SHA256")
    )
    yield shop
    shop.close()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenShop]:
    shop = TokenShop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def django(tmp_path: Path) -> Iterator[CookieShop]:
    shop = CookieShop(tmp_path, "django")
    yield shop
    shop.close()


def fallen(shop: Any, **more: Any) -> Connector:
    connector: Connector = shop.connector(**more)
    connector.arm()
    connector.gate(2, at=AT)
    return connector


def test_the_real_library_takes_our_canaries_and_new_sessions_live(target: Any) -> None:
    connector = target.connector()
    canary = connector.plant(1)[0]
    assert target.opens(canary.account, canary.secrets["session"].reveal())
    fallen(target)
    assert not target.opens(canary.account, canary.secrets["session"].reveal())
    new = target.issue("ann") if isinstance(target, TokenShop) else target.ask({"make": 99})
    assert target.opens("ann", new)
    assert all(answer.accepted for answer in said(connector, connector.plant(1)))


def test_the_old_key_is_nowhere_in_the_clear(target: Any) -> None:
    before = [path.read_text().strip() for path in target.key_files()]
    mode = target.key_files()[0].stat().st_mode
    connector = fallen(target)
    assert target.key_files()[0].stat().st_mode == mode
    for path in target.folder.iterdir():
        if path.is_file():
            assert not [old for old in before if old in path.read_text()], path
    with pytest.raises(Unavailable, match="another secret"):
        make(f"{type(connector).__module__}.Adapter", dict(connector._options), "another seal").abort()  # type: ignore[attr-defined]
    connector.abort()
    assert [path.read_text().strip() for path in target.key_files()] == before
    assert all_open(target)


def test_a_drain_forgets_the_old_key(target: Any) -> None:
    connector = fallen(target)
    assert connector.drain(None, limit=10).cursor is None
    assert connector.status().state == "drained"
    with pytest.raises(Refused, match="forgotten"):
        connector.abort()
    assert none_opens(target)


def test_a_key_that_somebody_put_back_is_seen_and_gated_again(target: Any) -> None:
    before = [path.read_text() for path in target.key_files()]
    connector = fallen(target)
    canary_key = [path.read_text() for path in target.key_files()]
    for path, text in zip(target.key_files(), before, strict=True):
        path.write_text(text)
    assert connector.status().state == "armed"
    assert all_open(target)
    connector.gate(2, at=AT)
    assert [path.read_text() for path in target.key_files()] == canary_key
    assert none_opens(target)


def test_a_folder_that_takes_no_writes_says_so(django: CookieShop) -> None:
    if os.geteuid() == 0:
        (django.folder / ".shop.tocsin").mkdir()  # root writes anywhere: a folder in the place of the mark stops it all the same
    else:
        django.folder.chmod(0o500)
    try:
        with pytest.raises(Unavailable):
            django.connector().arm()
        assert all_open(django)
    finally:
        django.folder.chmod(0o700)


def test_a_reload_that_fails_is_said_and_completed_later(django: CookieShop) -> None:
    connector = django.connector(reload=["false"])
    connector.arm()
    with pytest.raises(Unavailable, match="reload command ended with 1"):
        connector.gate(2, at=AT)
    with pytest.raises(Unavailable, match="cannot be started"):
        django.connector(reload=["/nowhere/reload"]).gate(2, at=AT)
    django.connector().gate(2, at=AT)
    assert none_opens(django)
    django.connector().abort()
    assert all_open(django)


def test_a_fallback_blocks_arming_and_turns_canaries_red(django: CookieShop) -> None:
    connector = django.connector()
    canaries = connector.plant(1)
    fallen(django)
    assert not any(answer.accepted for answer in said(connector, canaries))
    with (django.folder / "shop_settings.py").open("a") as settings:
        settings.write(f"SECRET_KEY_FALLBACKS = [{OLD_KEY!r}]\n")
    assert all(answer.accepted for answer in said(connector, canaries))  # the trap: the old cookie works again
    connector.abort()
    with pytest.raises(Refused, match="FALLBACKS"):
        connector.arm()


def test_an_environment_file_keeps_its_other_lines(django: CookieShop) -> None:
    env = django.folder / "shop.env"
    env.write_text(f"DEBUG=0\nexport SECRET_KEY='{OLD_KEY}'\nMY_SECRET_KEY=other\n")
    connector = django.connector(key_file=str(env), key_format="env", variable="SECRET_KEY")
    connector.arm()
    connector.gate(2, at=AT)
    lines = env.read_text().splitlines()
    assert (lines[0], lines[2]) == ("DEBUG=0", "MY_SECRET_KEY=other")
    assert lines[1].startswith("export SECRET_KEY=")
    assert OLD_KEY not in env.read_text()
    connector.abort()
    assert OLD_KEY in env.read_text()


def test_a_relying_partys_cache_keeps_old_tokens_until_it_runs_out(tokens: TokenShop) -> None:
    """What the finding says: PyJWT with a warm cache takes an old token after the gate, and refuses it when its cache is old."""
    party = tokens.relying_party(lifespan=1.0)
    token = tokens.people["person1"]
    assert tokens.verifies(party, token)
    assert any("300 s" in f.text for f in tokens.connector().probe().findings)
    connector = tokens.connector()
    connector.arm()
    gated = connector.gate(2, at=AT)
    assert "2026-01-15T03:05:00Z" in gated.detail
    assert tokens.verifies(party, token)
    time.sleep(1.1)
    assert not tokens.verifies(party, token)


def test_a_set_that_is_not_published_or_stalls_says_so(tokens: TokenShop) -> None:
    connector = tokens.connector(jwks_url=tokens.url.replace("jwks", "nothing"))
    canaries = connector.plant(1)
    with pytest.raises(Unavailable, match="404"):
        connector.present(canaries[0])
    (tokens.folder / "jwks.json").write_text("not json")
    with pytest.raises(Unavailable, match="not a JSON Web Key Set"):
        tokens.connector().probe()
    with pytest.raises(Unavailable, match="not a JSON Web Key Set"):
        tokens.connector().arm()


def test_forged_and_broken_canaries_are_refused(tokens: TokenShop) -> None:
    connector = tokens.connector()
    canary = connector.plant(1)[0]
    token = canary.secrets["session"].reveal()
    head, body, signature = token.split(".")
    for wrong in ("", "a.b", "a.b.c", f"{head}.{body}.", f"{head}.{body[:-2]}AA.{signature}", f"{body}.{head}.{signature}"):
        forged = type(canary)(canary.account, canary.login, {"session": type(canary.secrets["session"])(wrong)})
        assert not said(connector, [forged])[0].accepted, wrong


def test_options_are_checked(tmp_path: Path) -> None:
    for adapter, options in (
        ("signed_cookies", {"framework": "flask", "key_file": "k", "cookie": "c"}),
        ("signed_cookies", {"framework": "django", "key_file": "k", "cookie": "c"}),
        ("signed_cookies", {"framework": "rails", "key_file": "k", "cookie": "c", "rails_digest": "MD5"}),
        ("jwt_kid", {"jwks_file": "j", "signing_file": "s"}),
    ):
        with pytest.raises(BadInput):
            make(f"tocsin.credentials.adapters.{adapter}.Adapter", options, SEAL)
    with pytest.raises(BadInput):
        make("tocsin.credentials.adapters.jwt_kid.Adapter", {"jwks_file": "j", "signing_file": "s", "jwks_url": "http://127.0.0.1/"}, None)
