"""Tables of the inventory. A map's rows are written once and never changed."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact

from .types import ELEMENTS, KINDS, MASK_BITS_MAX, PEOPLE


class MapVersion(models.Model):
    """One data map as loaded; the newest is the current one. `document` is the canonical JSON whose SHA-256 is `digest`."""

    digest = models.BinaryField()
    document = models.TextField()
    loaded_at = models.DateTimeField()
    loaded_by = models.TextField()

    class Meta:
        constraints = [models.CheckConstraint(name="inventory_mapversion_digest_sha256", condition=Exact(Length("digest"), 32))]


class System(models.Model):
    """One host, service or desk of a map."""

    map = models.ForeignKey(MapVersion, on_delete=models.PROTECT, related_name="systems")
    key = models.TextField()
    kind = models.TextField()
    zone = models.TextField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["map", "key"], name="inventory_system_once"),
            models.CheckConstraint(name="inventory_system_kind_known", condition=models.Q(kind__in=KINDS)),
        ]


class Store(models.Model):
    """One store of a map. `element_mask` covers all it may hold, sealed or not."""

    map = models.ForeignKey(MapVersion, on_delete=models.PROTECT, related_name="stores")
    key = models.TextField()
    people = models.TextField()
    zone = models.TextField(null=True)
    vault = models.BooleanField()
    element_mask = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["map", "key"], name="inventory_store_once"),
            models.CheckConstraint(name="inventory_store_people_known", condition=models.Q(people__in=PEOPLE)),
            models.CheckConstraint(
                name="inventory_store_mask_known",
                condition=models.Q(element_mask__gte=0) & models.Q(element_mask__lt=1 << min(len(ELEMENTS), MASK_BITS_MAX)),
            ),
        ]
