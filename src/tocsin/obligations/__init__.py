"""Laws as dated data, duties as pure functions of the facts: who must be told what, by when, why, and why every other law does not bind.

Tables: `obligations_assessment` (one row per evaluation: facts in, answer out, the law data's version and digest), `obligations_obligation`
(one row per duty of an incident, with its state), `obligations_answer` (what people answered: what the company is, what a law asks).

Terms. *Law*: one entry of `laws/*.yaml` (schema: `laws/README.md`). *Duty*: one addressee with one deadline. *Cohort*: people who live in
one jurisdiction with the same exposed elements; no law ever meets a person. *Determination*: a signed finding that makes a law fall
away. *Asked*: due unless somebody answers no. *Open*: due, but its clock starts with an act that has not happened.

Promises. Missing information protects nobody: an unset event is discovery, an unanswered condition is asked and shown with its date.
Nothing is suppressed silently: each law that does not bind is listed with one reason. The answer depends on nothing but the facts, the
law files and `as_of`. Not legal advice: each duty shows its source and confidence, and whether counsel must confirm its date.
"""
