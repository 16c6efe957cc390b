"""Forecast of what a mass mailing brings back (resets, letters, calls, how long people wait for an answer), and the pace it may have.

Tables: `surge_measure` (what was forecast for an incident, with the digest of its inputs), `surge_steering` (what people allow a mailing
and what steering holds it to).
Terms: a *contact* is a person who turns to the company; *press contacts* come from the news and cannot be paced, *mail contacts* from our
own notice; a *draw* is one possible world, its parameters drawn from the priors. Promises: a forecast is a pure function of parameters and
seed (`policy`); storing one and its evidence entry are one transaction. Steering never raises a rate above what people allow, and never lowers one so far that
a legal deadline is missed.
"""
