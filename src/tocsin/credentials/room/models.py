"""Tables of the waiting room. The public process writes them through the functions of migration 0041 only."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Room(models.Model):
    """One row: whether everybody may pass, the rate, and what the next tick needs. Made by the first leader.

    `direct` and `used` gather what the nodes reported since the last tick; `pending` are people let in whose form
    cannot be expected yet; `issued_total` and `used_total` decay (see policy.matured, policy.decay).
    """

    id = models.SmallIntegerField(primary_key=True)
    open = models.BooleanField(default=True)
    rate_per_s = models.FloatField(default=0)
    factor = models.FloatField(default=1)
    credit = models.FloatField(default=0)
    capacity_per_s = models.FloatField(default=0)
    hashes_per_s = models.FloatField(default=0)
    wait_p95_ms = models.FloatField(default=0)
    admitted_per_s = models.FloatField(default=0)
    nodes = models.IntegerField(default=0)
    direct = models.IntegerField(default=0)
    used = models.IntegerField(default=0)
    pending = models.FloatField(default=0)
    issued_total = models.FloatField(default=0)
    used_total = models.FloatField(default=0)
    ticked_at = models.DateTimeField()
    cut_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_room_single", condition=models.Q(id=1)),
            models.CheckConstraint(name="credentials_room_rate", condition=models.Q(rate_per_s__gte=0, direct__gte=0, used__gte=0)),
        ]


class RoomLane(models.Model):
    """A lane's watermark, in seconds since 1970 with the fraction of the second: places before it are let through. It never goes back."""

    lane = models.SmallIntegerField(primary_key=True)
    mark = models.FloatField()
    admitted = models.FloatField(default=0)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_roomlane_known", condition=models.Q(lane__range=(0, 2)))]


class RoomSecond(models.Model):
    """How many tickets a node issued for a lane in a second. A row goes when the watermark has passed it."""

    pk = models.CompositePrimaryKey("lane", "second", "node")
    lane = models.SmallIntegerField()
    second = models.BigIntegerField()
    node = models.TextField()
    issued = models.IntegerField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_roomsecond_issued", condition=models.Q(issued__gte=0))]


class RoomNode(models.Model):
    """What a node last measured of its hashing pool."""

    node = models.TextField(primary_key=True)
    seen_at = models.DateTimeField()
    capacity_per_s = models.FloatField()
    hashes_per_s = models.FloatField()
    wait_p95_ms = models.FloatField()
    strained = models.BooleanField()


class RoomLimit(models.Model):
    """How many new passwords a second the systems of a population can take, where a connector set a limit."""

    population = models.TextField(primary_key=True)
    per_s = models.FloatField()
    set_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_roomlimit_per_s", condition=models.Q(per_s__gt=0))]


class RoomPlace(models.Model):
    """The place that a reset link carries: that of its request, or that with which it was first let through.

    The row goes with the link's: migration 0041 has the database see to it, so that who deletes links need not read places.
    """

    token_sha256 = models.BinaryField(primary_key=True)
    ms = models.BigIntegerField()
    nonce = models.BinaryField()
    lane = models.SmallIntegerField()


class RoomUse(models.Model):
    """For which logins, known or not, a place was used: it admits few. Kept as long as a ticket can be good."""

    pk = models.CompositePrimaryKey("ms", "nonce", "login")
    ms = models.BigIntegerField()
    nonce = models.BinaryField()
    login = models.BinaryField()


class KnownPlace(models.Model):
    """From where somebody signed in to a login in the last 90 days, by a keyed digest of both."""

    key = models.BinaryField(primary_key=True)
    seen_at = models.DateTimeField()


class Try(models.Model):
    """Wrong passwords in a row for a login, known or not: altogether (32 bytes: its keyed digest), and from one place (64 bytes)."""

    key = models.BinaryField(primary_key=True)
    failures = models.IntegerField()
    last_at = models.DateTimeField()


class Pacer(models.Model):
    """When the next request from an address or network is due, by a keyed digest of it."""

    key = models.BinaryField(primary_key=True)
    ready_at = models.DateTimeField()
