"""Forecast of what a mass mailing brings back: resets, letters, calls, and how long people wait for an answer.

Table: `surge_measure` (what was forecast for an incident, with the digest of its inputs).
Terms: a *contact* is a person who turns to the company; *press contacts* come from the news and cannot be paced, *mail contacts* from our
own notice; a *draw* is one possible world, its parameters drawn from the priors. Promises: a forecast is a pure function of parameters and
seed (`policy`); storing one and its evidence entry are one transaction.
"""
