"""The work: claim a batch, write its numbers in chunks, each chunk under the fence."""

from __future__ import annotations

import os
import select

from django.db import transaction

from tocsin.kernel import jobs

from .models import Batch, Begun, Written

CHUNK = 5


@jobs.job()
def write(chunk_s: float) -> None:
    """Write one batch, `chunk_s` seconds a chunk."""
    batch = jobs.claim(Batch.objects.all())
    if batch is None:
        if Batch.objects.filter(state="open").exists():
            raise jobs.Busy("every open batch is leased", retry_after_s=1)
        return
    Begun.objects.create(batch=batch.pk, fence=batch.fence, pid=os.getpid())
    done = Written.objects.filter(number__gte=batch.start, number__lt=batch.start + batch.n).count()
    for first in range(batch.start + done, batch.start + batch.n, CHUNK):
        select.select([], [], [], chunk_s)
        with transaction.atomic():
            jobs.renew(batch)
            last = min(first + CHUNK, batch.start + batch.n)
            Written.objects.bulk_create(Written(number=i, fence=batch.fence) for i in range(first, last))
    jobs.fenced(batch, state="done")
