"""Django's PBKDF2 with fewer rounds than its default, so that the tests do not wait for it."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class Quicker(PBKDF2PasswordHasher):
    """The same, with 300,000 rounds."""

    iterations = 300_000
