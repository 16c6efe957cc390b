"""The duty engine: cohorts meet laws, and every law gets an answer.

Per law, in this order: whom it covers; its status; in force on the day; its text of that day; the entity; sealed codes dropped; codes
derived and matched; acquisition; harm; counts and thresholds; conditions; dates. The first "no" is the one reason given.
Source: specification of exposure and duties, section 5. Missing information protects nobody: see the room's docstring.

Speed: laws are compiled once per day asked for, cohorts are bit masks. 384 cohorts against 88 laws take about 10 ms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from tocsin.obligations.types import Assessment, Cohort, DutyInfo, Facts, Law, LawData, NotTriggered, Question

from . import codes
from .clocks import EVENTS, Due, Timeline, end_of_day, instant, local_day
from .order import plan
from .versions import ENOUGH_FOR_THEFT, DutyRule, Version, compiled, hits, listed

# True of every deployment; every other predicate is a question of the set-up. Source: specification, section 5.
ENTITY_DEFAULT = frozenset({
    "any_business", "controller_under_gdpr_art_3", "controller_under_uk_gdpr", "controller", "private_sector_commercial", "enterprise",
    "organisation_in_alberta", "organisation", "app_entity", "agency", "business_operator", "responsible_party",
    "personal_information_handler", "data_fiduciary", "any_body_corporate_service_provider_intermediary",
})  # fmt: skip
DATA_AGE_DAYS_MAX = 90
UNKNOWN_RESIDENCE = "ZZ"


def assess(facts: Facts, laws: LawData) -> Assessment:
    """Return what each law asks for under these facts. Raises Refused if the laws' orders before and after run in a circle.

    `facts` needs at least one event of knowing (discovery best); the reader of facts files checks that.
    """
    run = _Run(facts, laws)
    for law in laws.laws:
        run.law(law)
    duties = tuple(sorted(run.duties, key=lambda d: d.sort_key))
    return Assessment(
        duties=duties,
        not_triggered=tuple(run.not_triggered),
        questions=tuple(run.questions),
        watch=tuple(run.watch),
        order=plan(duties, run.deadlines),
        uncovered=tuple(sorted((j, sum(c.count for c in cs)) for j, cs in run.by_jurisdiction.items() if j not in run.covered)),
        flags=tuple(dict.fromkeys(run.flags)),
        data_version=laws.data_version,
        data_digest=laws.digest,
    )


@dataclass(slots=True)
class _Group:
    """A cohort as masks of raw codes."""

    jurisdiction: str
    count: int
    clear: int
    sealed: int
    key_taken: bool
    exfiltrated: bool


@dataclass(slots=True)
class _Match:
    """What of the covered cohorts matches a law."""

    groups: list[_Group] = field(default_factory=list)
    bits: int = 0
    asked: dict[str, list[_Group]] = field(default_factory=dict)  # asked code -> cohorts it would bring in
    sealed_too: int = 0  # people matched whose codes were partly sealed

    @property
    def count(self) -> int:
        return sum(g.count for g in self.groups)


class _Run:
    """One evaluation: the facts prepared, and the answers as they come."""

    def __init__(self, facts: Facts, laws: LawData) -> None:
        self.facts = facts
        self.duties: list[DutyInfo] = []
        self.deadlines: dict[tuple[str, str], Mapping[str, object]] = {}
        self.not_triggered: list[NotTriggered] = []
        self.questions: list[Question] = []
        self.watch: list[str] = []
        self.flags: list[str] = []
        self.covered: set[str] = set()
        self.by_jurisdiction: dict[str, list[_Group]] = defaultdict(list)
        for cohort in facts.cohorts:
            if cohort.count > 0:
                self.by_jurisdiction[cohort.jurisdiction].append(_group(cohort))
        # A law finds its cohorts by its own jurisdiction and members: a place is found under itself, its country, and *.
        self.places: dict[str, list[str]] = defaultdict(list)
        for place in self.by_jurisdiction:
            for name in {place, place.split("-")[0], "*"}:
                self.places[name].append(place)
        self.vague = [place for place in self.by_jurisdiction if "-" not in place]  # ZZ, or a country whose part is not known
        self.special = codes.mask(facts.special)
        self.signed: dict[str, set[str | None]] = defaultdict(set)
        for d in facts.determinations:
            self.signed[d.kind].add(d.law)
        self.now = facts.now or _last(facts)
        self._check(laws)

    def _check(self, laws: LawData) -> None:
        """Flag what an operator should see beside every duty."""
        unknown = sorted({c for cohort in self.facts.cohorts for c in cohort.elements | cohort.encrypted} - set(codes.CODES))
        if unknown:
            self.flags.append(f"unknown element codes, counted as personal data: {', '.join(unknown)}")
        if None in self.signed["no_harm"]:
            self.flags.append("a no_harm determination without a law has no effect: the test differs from law to law")
        known = {law.id for law in laws.laws}
        for kind, signed in sorted(self.signed.items()):
            for name in sorted(s for s in signed if s is not None and s not in known):
                self.flags.append(f"the {kind} determination names {name}, which is no law of the data")
        for event in sorted(set(self.facts.events) - EVENTS):
            self.flags.append(f"unknown event {event}: no law counts from it")
        if "discovery" not in self.facts.events:
            self.flags.append("discovery not stated: the earliest event of knowing stands for it")
        checked = date(*(int(p) for p in laws.data_version.split(".")[:3]))
        age = (self.now.date() - checked).days
        if age > DATA_AGE_DAYS_MAX:
            self.flags.append(f"the law data is {age} days old ({laws.data_version}): {DATA_AGE_DAYS_MAX} is the limit, have it checked")

    # One law.

    def law(self, law: Law) -> None:
        today = compiled(law, date.max)
        covering = list(dict.fromkeys(j for name in (today.jurisdiction, *sorted(today.members)) for j in self.places.get(name, ())))
        unknown = [g for j in self.vague if j not in covering and _may_live_in(j, today.jurisdiction) for g in self.by_jurisdiction[j]]
        if not covering:
            n = sum(g.count for g in unknown)
            may = f"; {n} of unknown residence may live there" if n else ""
            self._no(law, "residents", f"nobody known to live in {today.jurisdiction} was exposed{may}")
            return
        if today.jurisdiction != "*":  # a contract binds everywhere and protects nobody
            self.covered.update(covering)
        if today.status is not None:
            self.watch.append(law.id)
            self._no(law, "status", f"{today.status.replace('_', ' ')}: watch item, no date")
            return
        timeline = Timeline(self.facts.events, today.jurisdiction)
        as_of = self.facts.as_of or local_day(timeline.discovery, timeline.zone)
        if today.in_force_from is None or today.in_force_from > as_of:
            self._no(law, "in_force", f"in force from {today.in_force_from}; asked for {as_of}")
            return
        version = compiled(law, as_of)
        entity = self.facts.entity.get(version.entity, True if version.entity in ENTITY_DEFAULT else None)
        if entity is False or (entity is None and not self.facts.ask_entity):
            self._no(law, "entity", f"binds only {version.entity}")
            return
        groups = [g for j in covering for g in self.by_jurisdiction[j]]
        match = self._match(version, groups)
        if not match.groups and not match.asked:
            self._no(law, *self._why_no_element(version, groups))
            return
        fallen = self._determined(version, match)
        if fallen:
            self._no(law, "determination", fallen)
            self._tell_regulator(version, match, timeline)
            return
        entity_question = None if entity else f"is the company {version.entity.replace('_', ' ')}?"
        self._bind(law, version, match, unknown, timeline, entity_question)

    def _no(self, law: Law, reason: str, detail: str) -> None:
        self.not_triggered.append(NotTriggered(law=law.id, duty=None, reason=reason, detail=detail))

    # Elements.

    def _match(self, version: Version, groups: Iterable[_Group], *, unseal: bool = False, hash_counts: bool | None = None) -> _Match:
        """Match cohorts with a version. `unseal` and `hash_counts` True ask what would be without encryption or determination."""
        if hash_counts is None:
            hash_counts = not self._is_signed("hash_not_password", version.law)
        match = _Match()
        if version.event_itself:
            match.groups, match.bits = list(groups), codes.BIT[codes.EVENT_ITSELF]
            return match
        derived = [(g, self._codes(version, g, unseal=unseal, hash_counts=hash_counts)) for g in groups]
        extra = self._counted(version, derived)
        asked = [(code, named) for code, named in version.asked if self.facts.conditions.get(f"{version.law}.{code}") is not False]
        for group, bits in derived:
            found = hits(version, bits | extra) if bits else 0
            for code, named in asked:
                if _is_open(version, code, named, bits) and not found & codes.BIT[code]:
                    if self.facts.conditions.get(f"{version.law}.{code}"):
                        found |= codes.BIT[code]
                    else:
                        match.asked.setdefault(code, []).append(group)
            if found:
                match.groups.append(group)
                match.bits |= found
                if group.sealed and version.safe_harbor in ("individuals_only", "risk_factor"):
                    match.sealed_too += group.count
        return match

    def _codes(self, version: Version, group: _Group, *, unseal: bool, hash_counts: bool) -> int:
        """Return the derived codes of a cohort under a law: sealed ones dropped where the law has a safe harbour that holds."""
        drop = version.safe_harbor is True and not (group.key_taken and version.lost_if_key_taken) and not unseal
        raw = group.clear if drop else group.clear | group.sealed
        # A regime covers the people of its store; without any exposed code there is nothing for it to cover.
        return codes.derive(raw | self.special if raw else 0, hash_counts)

    def _counted(self, version: Version, derived: Sequence[tuple[_Group, int]]) -> int:
        """Return the codes that stand for a number of people, where the law's own count reaches it."""
        if not version.counted:
            return 0
        n = sum(g.count for g, bits in derived if bits)
        return codes.mask(c for c in version.counted if _reaches(n, *codes.COUNTED[c]))

    def _why_no_element(self, version: Version, groups: Sequence[_Group]) -> tuple[str, str]:
        if self._match(version, groups, unseal=True).groups:
            return "encrypted", "what the law lists was encrypted and the key was not taken"
        if self._match(version, groups, hash_counts=True).groups:
            return "determination", "hash_not_password: the hashes were found not to count as passwords"
        if self._match(version, groups, unseal=True, hash_counts=True).groups:
            return "determination", "hash_not_password, and the rest of what the law lists was encrypted"
        wanted = codes.names(version.alone | version.with_name)
        with_name = " with the name" if version.with_name and not version.alone else ""
        return "element", f"none of its elements was exposed{with_name}: {', '.join(wanted)}"

    # Determinations.

    def _is_signed(self, kind: str, law: str) -> bool:
        return law in self.signed[kind] or (None in self.signed[kind] and kind != "no_harm")

    def _determined(self, version: Version, match: _Match) -> str | None:
        """Return why a signed determination makes the law fall away, None if it stands. Exfiltrated cohorts stay acquired."""
        if version.acquisition and self._is_signed("not_acquired", version.law):
            match.groups = [g for g in match.groups if g.exfiltrated]
            match.asked = {code: kept for code, gs in match.asked.items() if (kept := [g for g in gs if g.exfiltrated])}
            if not match.groups and not match.asked:
                return "not_acquired: the law wants acquisition, and the logs show none"
        if self._is_signed("no_harm", version.law):
            if version.harm_rule != "none":
                return f"no_harm: {version.harm_standard or version.harm_rule}"
            self.flags.append(f"{version.law} has no harm test: the no_harm determination has no effect")
        if version.law in self.signed["displacement"]:
            return "displacement: counsel found that another law takes its place"
        if version.law in self.signed["deemed_compliant"]:
            if version.deemed_compliant:
                return "deemed_compliant: notice under another regime counts"
            self.flags.append(f"{version.law} deems nobody compliant: the determination has no effect")
        return None

    def _tell_regulator(self, version: Version, match: _Match, timeline: Timeline) -> None:
        """Open the duty to show a no-harm finding to the regulator, where the law has one; its date is for Legal to set."""
        if not self._is_signed("no_harm", version.law) or version.tell_regulator is None:
            return
        rule = next((d for d in version.duties if d.deadline.get("to_event") == "no_harm_determination"), None)
        due = timeline.due(rule.deadline) if rule else Due(basis=f"{version.tell_regulator}: the date is for Legal to set")
        rule = rule or DutyRule("tell_regulator", "regulator", "regulator", {}, None, None, None, (), version.tell_regulator, (), "medium")
        question = f"was the finding shown as the law wants it: {version.tell_regulator}?"
        duty = self._duty(version, rule, match, 0, due, timeline, [question], None)
        self.duties.append(duty)
        self._ask(duty, f"{version.law}.{rule.id}", question)

    # Duties.

    def _bind(self, law: Law, version: Version, match: _Match, unknown: Sequence[_Group], timeline: Timeline, entity: str | None) -> None:
        n_unknown = self._match(version, unknown).count
        bound: list[DutyInfo] = []
        if match.groups:
            for rule in version.duties:
                duty = self._one(version, rule, match, n_unknown, timeline, entity)
                if duty is not None:
                    bound.append(duty)
                    self.deadlines[law.id, rule.id] = rule.deadline
            self.duties += bound
        if entity and bound:
            self._ask_law(version.law, f"entity.{version.entity}", entity, bound)
        for code, groups in match.asked.items():
            would = _Match(groups=[*match.groups, *groups], bits=match.bits | codes.BIT[code])
            dated = [d for r in version.duties if (d := self._one(version, r, would, n_unknown, timeline, entity, quiet=True)) is not None]
            self._ask_law(version.law, f"{version.law}.{code}", codes.ASKED[code], dated)
        if not match.groups:
            self._no(law, "element", f"asked, not decided: {'; '.join(codes.ASKED[c] for c in match.asked)}")

    def _one(
        self, version: Version, rule: DutyRule, match: _Match, unknown: int, timeline: Timeline, entity: str | None, *, quiet: bool = False
    ) -> DutyInfo | None:
        """Return one duty, None if its threshold or an answer rules it out. `quiet` only wants the date."""
        questions = [entity] if entity else []
        key = f"{version.law}.{rule.id}"
        asks: list[str] = []
        threshold = None
        if rule.threshold is not None:
            reached, threshold = self._threshold(version, rule.threshold, match, unknown)
            reached = reached or not self.facts.special.isdisjoint(rule.also_if)
            if not reached and not rule.also_if:
                if not quiet:
                    self.not_triggered.append(NotTriggered(version.law, rule.id, "threshold", threshold))
                return None
            if not reached:
                asks.append(f"below the threshold ({threshold}), but due if: {', '.join(c.replace('_', ' ') for c in rule.also_if)}")
        if rule.condition is not None:
            asks.append(rule.condition)
        if version.event_itself and not any(timeline.is_set(e) for e in _events(rule.deadline)):
            asks.append(
                f"was there a {version.event.replace('_', ' ')}" + (f" ({version.harm_standard})?" if version.harm_standard else "?")
            )
        if asks:
            answer = self.facts.conditions.get(key, self.facts.conditions.get(version.law))
            if answer is False:
                if not quiet:
                    self.not_triggered.append(NotTriggered(version.law, rule.id, "condition", f"answered no: {'; '.join(asks)}"))
                return None
            if answer is None:
                questions += asks
        marks = []
        if version.acquisition and not all(g.exfiltrated for g in match.groups):
            marks.append("acquisition assumed")
        if match.sealed_too and rule.to == "individuals":
            fact = f"{match.sealed_too} people's elements were partly encrypted"
            marks.append(f"{fact} ({'bears on this notice' if version.safe_harbor == 'individuals_only' else 'a factor of the risk'})")
            questions = [f"{q} ({fact})" if q == rule.condition else q for q in questions]
        due = timeline.due(rule.deadline, guidance_hours=rule.guidance_hours)
        if rule.cap is not None:
            due = _capped(due, timeline.due(rule.cap))
        if rule.to == "individuals" and self._is_signed("law_enforcement_delay", version.law):
            due = self._delayed(version, due, timeline)
        duty = self._duty(version, rule, match, unknown, due, timeline, questions, threshold, marks=marks)
        if not quiet:
            for text in (q for q in questions if q != entity):
                self._ask(duty, key, text)
        return duty

    def _threshold(self, version: Version, threshold: tuple[int, str, str], match: _Match, unknown: int) -> tuple[bool, str]:
        wanted, op, scope = threshold
        if scope == "residents_of_one_state":
            states: dict[str, int] = defaultdict(int)
            for g in match.groups:
                states[g.jurisdiction] += g.count
            n = max(states.values())
        elif scope == "data_subjects":
            n = self._match(version, (g for gs in self.by_jurisdiction.values() for g in gs)).count
        else:
            n = match.count
        reached = _reaches(n, op, wanted)
        text = f"{n} {'' if reached else 'not '}{'>' if op == 'gt' else '>='} {wanted}"
        lacking = wanted - n + (op == "gt")
        if not reached and 0 < lacking <= unknown:
            text += f"; met if {lacking} of the {unknown} of unknown residence live there"
        return reached, text

    def _delayed(self, version: Version, due: Due, timeline: Timeline) -> Due:
        """Return an individual duty under a law-enforcement delay: stopped until it ends, then due by what the law gives."""
        if not version.delay.get("allowed"):
            self.flags.append(f"{version.law} allows no law-enforcement delay: the determination has no effect")
            return due
        ended, _ = timeline.resolve("law_enforcement_delay_ended")
        if ended is None:
            text = f"stopped by the law-enforcement delay; without it: {due.basis}"
            return replace(due, day=None, at=None, ours_day=None, ours_at=None, basis=text, waits=("law_enforcement_delay_ended",))
        resume = version.delay.get("resume_within")
        resumed = timeline.due({"from": "law_enforcement_delay_ended", **resume}) if resume else None
        if resumed is None:
            day = local_day(ended, timeline.zone)
            resumed = Due(day=day, at=end_of_day(day, timeline.zone), basis=f"the law-enforcement delay ended {day.isoformat()}")
        if due.at is not None and resumed.at is not None and due.at >= resumed.at:
            return due
        return replace(due, day=resumed.day, at=resumed.at, basis=f"{resumed.basis}; without the delay: {due.basis}")

    def _duty(
        self, version: Version, rule: DutyRule, match: _Match, unknown: int, due: Due, timeline: Timeline, questions: Sequence[str],
        threshold: str | None, *, marks: Sequence[str] = (),
    ) -> DutyInfo:  # fmt: skip
        state = "asked" if questions else "open" if due.at is None and due.waits else "due"
        earliest = due.day
        if earliest is None and due.waits:
            then = timeline.with_acts_at(self.now)
            earliest = then.due(rule.deadline, guidance_hours=rule.guidance_hours).day
        return DutyInfo(
            law=version.law,
            duty=rule.id,
            jurisdiction=version.jurisdiction,
            to=rule.to,
            name=rule.name,
            state=state,
            due_date=due.day,
            due_at=due.at,
            earliest=earliest,
            ours=due.ours_day,
            ours_at=due.ours_at,
            zone=timeline.zone,
            basis=due.basis,
            relation=due.relation,
            relation_event=due.relation_event,
            standard=due.standard,
            source=version.source,
            source_url=version.source_url,
            confidence=rule.confidence,
            counsel=version.counsel,
            count=match.count,
            unknown=unknown,
            matched=codes.names(match.bits),
            threshold=threshold,
            version=version.version,
            fallbacks=due.fallbacks,
            marks=tuple(marks),
            questions=tuple(questions),
            waits_for=due.waits,
            content=rule.content,
            notice=version.notice if rule.to == "individuals" else {},
        )

    # Questions.

    def _ask(self, duty: DutyInfo, key: str, text: str) -> None:
        self.questions.append(Question(law=duty.law, duty=duty.duty, key=key, text=text, due_date=duty.due_date, due_at=duty.due_at))

    def _ask_law(self, law: str, key: str, text: str, duties: Sequence[DutyInfo]) -> None:
        first = min(duties, key=lambda d: d.sort_key) if duties else None
        self.questions.append(
            Question(
                law=law,
                duty=None,
                key=key,
                text=text,
                due_date=first.due_date if first else None,
                due_at=first.due_at if first else None,
                if_yes=tuple((d.duty, d.due_date, d.due_at) for d in duties),
            )
        )


def _group(cohort: Cohort) -> _Group:
    sealed = codes.mask(cohort.encrypted)
    return _Group(
        jurisdiction=cohort.jurisdiction,
        count=cohort.count,
        clear=codes.mask(cohort.elements - cohort.encrypted),
        sealed=sealed,
        key_taken=cohort.key_taken,
        exfiltrated=cohort.state == "exfiltrated",
    )


def _may_live_in(residence: str, jurisdiction: str) -> bool:
    """Tell whether people of a vague residence may be people of a jurisdiction: ZZ anywhere, US in any US-xx."""
    return residence == UNKNOWN_RESIDENCE or jurisdiction.startswith(f"{residence}-")


def _is_open(version: Version, code: str, named: bool, bits: int) -> bool:
    """Tell whether a cohort with these derived codes makes an asked code a question under a law."""
    has_name = bool(bits & codes.NAME)
    if code == ENOUGH_FOR_THEFT:
        return not has_name and bool(bits & listed(version))
    if code in ("fin_account_number_if_usable", "fin_account_with_code"):
        return bool(bits & codes.BIT["fin_account_number"]) and not bits & codes.BIT["fin_account_with_code"] and (has_name or not named)
    return bool(bits & codes.PERSONAL)


def _reaches(n: int, op: str, wanted: int) -> bool:
    return n > wanted if op == "gt" else n >= wanted


def _events(deadline: Mapping[str, object]) -> set[str]:
    """Return the events a deadline counts from."""
    options = deadline.get("earliest_of")
    if isinstance(options, list):
        return set().union(*(_events(d) for d in options))
    return {str(deadline[k]) for k in ("from", "to_event") if k in deadline}


def _capped(due: Due, cap: Due) -> Due:
    """Return a deadline bounded by its outer limit."""
    if cap.at is None or (due.at is not None and due.at <= cap.at):
        return due
    basis = f"{due.basis}; at the latest {cap.basis}"
    return replace(due, day=cap.day, at=cap.at, basis=basis, standard=cap.standard, fallbacks=(*due.fallbacks, *cap.fallbacks))


def _last(facts: Facts) -> datetime:
    """Return the last moment the facts speak of, for `earliest` when nobody says what time it is."""
    moments = [instant(m, "UTC") for m in facts.events.values()]
    if facts.as_of is not None:
        moments.append(end_of_day(facts.as_of, "UTC"))
    return max(moments)
