"""Django settings, derived from `kernel.config`. Loads without a configuration file, so that type checkers and tests can import it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF

from tocsin.kernel import config
from tocsin.kernel.errors import NotFound, Refused
from tocsin.kernel.sealing import key

_config = config.current()
BASE_DIR = Path(__file__).parent
SITE = _config.process if _config.process in {"console", "public"} else "console"


def _secret() -> str:
    """Return the site's own secret; other processes sign nothing and get one that lives as long as they do."""
    try:
        return key(f"web_{SITE}").reveal().hex()
    except (NotFound, Refused):
        return os.urandom(32).hex()


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "tocsin.kernel.postgres",
        "NAME": unquote(parts.path.lstrip("/")) or "tocsin",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": f"tocsin-{_config.process}"},
    }


SECRET_KEY = _secret()
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", "testserver", urlsplit(_config.web.public_url).hostname or "localhost"]
DATABASES = {"default": _database(_config.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español"), ("fr", "Français"), ("de", "Deutsch"), ("pt", "Português"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "web" / "locale"]

ROOMS = ["evidence", "staff", "inventory", "mail", "subjects", "incidents", "obligations", "credentials", "notices", "support", "surge"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "procrastinate.contrib.django",
    "axes",
    "csp",
    "django_htmx",
    *[f"tocsin.{room}" for room in ROOMS],
    "tocsin.web",
]
AUTH_USER_MODEL = "staff.Operator"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"

ROOT_URLCONF = f"tocsin.web.{SITE}.urls"
_HEADERS = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "tocsin.web.content_policy.ContentPolicyMiddleware",
    "tocsin.web.errors.ErrorsMiddleware",
]
# The public site has no session and no account of its own: less to attack, and a GET writes nothing but the count of
# links that do not work.
_PUBLIC = [
    *_HEADERS[:-1],
    "tocsin.web.public.language.LanguageMiddleware",  # around the errors: their pages speak the reader's language too
    _HEADERS[-1],
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MIDDLEWARE = (
    _PUBLIC
    if SITE == "public"
    else [
        *_HEADERS,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django_htmx.middleware.HtmxMiddleware",
        "axes.middleware.AxesMiddleware",
    ]
)
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_USERNAME_FORM_FIELD = "username"  # what authenticate() is given; the default, the field of our model, would find no failure
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "tocsin.web.console.sign_in.locked_out"
AXES_VERBOSE = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "web" / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": ["django.template.context_processors.request"]
            + (
                []
                if SITE == "public"
                else ["django.contrib.auth.context_processors.auth", "django.contrib.messages.context_processors.messages"]
            ),
            "libraries": {},
            "builtins": ["django.templatetags.static", "django.templatetags.i18n", "django.contrib.humanize.templatetags.humanize"],
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "web" / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"  # not no-referrer: browsers then post forms with `Origin: null`, and every form would be refused
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_NAME = f"tocsin_{SITE}"
CSRF_COOKIE_NAME = f"tocsin_{SITE}_csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _config.web.secure_cookies
CSRF_COOKIE_HTTPONLY = SESSION_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "tocsin.web.errors.csrf_failure"
if SITE == "public":  # behind a proxy that ends TLS the form's origin is https while we see http
    CSRF_TRUSTED_ORIGINS = [f"{urlsplit(_config.web.public_url).scheme}://{urlsplit(_config.web.public_url).netloc}"]
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
DATA_UPLOAD_MAX_MEMORY_SIZE = 65_536
LOGGING_CONFIG = None
SILENCED_SYSTEM_CHECKS = ["axes.W003"]
