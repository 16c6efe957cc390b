"""An unmodified Django project as a program of its own: its pages are asked through its own URLs, one JSON line in, one out.

Run as `python django_shop.py` with SHOP_DSN in the environment; imports nothing of Tocsin. Its only choice is a cheap PBKDF2, so that
thirty people sign in within a second.
"""

import json
import os
import re
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.urls import include, path

parts = urlsplit(os.environ["SHOP_DSN"])


class Quick(PBKDF2PasswordHasher):
    iterations = 1000


LINK = "{{ protocol }}://{{ domain }}{% url 'password_reset_confirm' uidb64=uid token=token %}\n"
PAGES = {
    f"registration/{name}.html": "{{ form.as_p }}"
    for name in (
        "login",
        "password_change_form",
        "password_reset_form",
        "password_reset_done",
        "password_reset_confirm",
        "password_reset_complete",
    )
} | {"registration/password_reset_email.html": LINK, "registration/password_reset_subject.txt": "Your password"}

settings.configure(  # a project as `startproject` makes it, in one file
    SECRET_KEY="shop",
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts.path.lstrip("/"),
            "USER": parts.username,
            "PASSWORD": parts.password,
            "HOST": parts.hostname,
            "PORT": parts.port,
            "CONN_MAX_AGE": 600,
            "OPTIONS": {"server_side_binding": True},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", PAGES)]},
        }
    ],
    PASSWORD_HASHERS=["__main__.Quick", "django.contrib.auth.hashers.Argon2PasswordHasher"],
    EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    LOGIN_REDIRECT_URL="/accounts/password_change/",
    USE_TZ=True,
)
django.setup()
urlpatterns = [path("accounts/", include("django.contrib.auth.urls"))]


def log_in(account: str, password: str) -> str | None:
    """Fill in the log-in page; the session's cookie if it let us in."""
    from django.test import Client

    user = get_user_model().objects.filter(pk=account).first()
    client = Client()
    page = client.post("/accounts/login/", {"username": user.username if user else account, "password": password})
    return client.cookies["sessionid"].value if page.status_code == 302 else None


def signed_in(cookie: str) -> bool:
    """Ask for a page that only people who are signed in get."""
    from django.test import Client

    client = Client()
    client.cookies["sessionid"] = cookie
    return client.get("/accounts/password_change/").status_code == 200


def ask_reset(account: str) -> str | None:
    """Fill in the page of those who forgot their password; the link from the mail."""
    from django.core import mail
    from django.test import Client

    mail.outbox = []
    Client().post("/accounts/password_reset/", {"email": get_user_model().objects.get(pk=account).email})
    found = re.search(r"(/accounts/reset/\S+)", mail.outbox[0].body) if mail.outbox else None
    return found[1] if found else None


def use_link(link: str, password: str) -> bool:
    """Follow a reset link and set a password."""
    from django.test import Client

    client = Client()
    page = client.get(link)
    if page.status_code != 302:
        return False
    return client.post(page["Location"], {"new_password1": password, "new_password2": password}).status_code == 302


def change(account: str, password: str) -> bool:
    """Go the way of somebody who forgot the password, from the page to the new one."""
    link = ask_reset(account)
    return link is not None and use_link(link, password)


def people(n: int) -> dict[str, str]:
    """Register n people, each with a password of its own."""
    user = get_user_model()
    made = user.objects.bulk_create(
        user(username=f"person{i}", email=f"person{i}@mail.example", password=Quick().encode(f"old secret {i}", "salt")) for i in range(n)
    )
    return {str(u.pk): f"old secret {i}" for i, u in enumerate(made)}


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def create_superuser(name: str, password: str) -> str:
    from django.core.management import call_command

    os.environ["DJANGO_SUPERUSER_PASSWORD"] = password
    call_command("createsuperuser", username=name, email=f"{name}@mail.example", interactive=False, verbosity=0)
    return str(get_user_model().objects.get(username=name).pk)


def lock(account: str) -> str:
    """Read a row for update, and change another column the way save() does: all columns at once."""
    from django.db import transaction

    with transaction.atomic():
        user = get_user_model().objects.select_for_update().get(pk=account)
        user.first_name = "Locked"
        user.save()
    return get_user_model().objects.get(pk=account).first_name


held = {}


def hold(account: str) -> None:
    """Load somebody into memory, as a request does that began earlier."""
    held[account] = get_user_model().objects.get(pk=account)


def save_held(account: str) -> None:
    """Save whole what was loaded earlier."""
    held[account].last_name = "Stale"
    held[account].save()


def delete(account: str) -> int:
    return get_user_model().objects.filter(pk=account).delete()[0]


if __name__ == "__main__":
    doors = {
        f.__name__: f
        for f in (log_in, signed_in, ask_reset, use_link, change, people, migrate, create_superuser, lock, hold, save_held, delete)
    }
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(doors[name](*arguments)) + "\n")
        sys.stdout.flush()
