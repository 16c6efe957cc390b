"""Tables of the staff room: who may act, what waits for a second signature, and the signatures."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models

from .types import ROLES


class OperatorManager(BaseUserManager["Operator"]):
    """Finds operators by name, as Django's sign-in asks."""

    def get_by_natural_key(self, username: str | None) -> Operator:
        """Return the operator of that name."""
        return self.get(name=username)


class Operator(AbstractBaseUser):
    """One person of the response team. `public_key` is a copy for display: signatures are checked against the key files of the home."""

    name = models.TextField(unique=True)
    roles = ArrayField(models.TextField(choices=[(r, r) for r in ROLES]), default=list)
    public_key = models.BinaryField(null=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    USERNAME_FIELD = "name"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[OperatorManager] = OperatorManager()

    class Meta:
        constraints = [models.CheckConstraint(name="staff_operator_roles_known", condition=models.Q(roles__contained_by=list(ROLES)))]

    def __str__(self) -> str:
        return self.name


class Approval(models.Model):
    """An act that needs two people, as a digest over exactly what will be done."""

    act = models.TextField()
    request = models.UUIDField(unique=True)
    sameness = models.BinaryField()
    digest = models.BinaryField()
    payload = models.JSONField()
    requested_by = models.TextField()
    requested_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["sameness"])]


class Signature(models.Model):
    """One operator's Ed25519 signature over an approval's digest."""

    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="signatures")
    operator = models.ForeignKey(Operator, on_delete=models.PROTECT)
    signature = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["approval", "operator"], name="staff_signature_once")]
