"""The desk through its doors against a real PostgreSQL: mail in, cases, leases, answers, releases; counts close."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.support import actions, queries

from .desk import ANSWERS, AT, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(estate: Path) -> Path:
    actions.load_answers(ANSWERS, at=AT, by="lena")
    return estate


def test_a_mail_becomes_a_case_and_is_answered(desk: Path) -> None:
    write("ann@people.example", "Hello,\n\nHow can I reset my password?\n\nThanks\nAnn")
    assert actions.take_in(at=AT).opened == 1
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    assert case.suggestions[0].question == "how_reset"
    actions.answer(case.id, answer_version=case.suggestions[0].version, by="dora", at=AT)
    status = queries.status()
    assert (status.received, status.open, status.answered, status.bulk_answered) == (1, 0, 1, 0)
