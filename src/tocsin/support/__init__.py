"""Desk: people's e-mails in, threaded into one case per person, answered one by one or thousands at once by one vetted answer.

Tables: support_question, support_answer (vetted texts by version), support_case, support_message, support_reply, support_release,
support_cursor. Terms: a *question* is a kind of thing many people ask; a *release* sends one answer to a frozen list of cases after two
people have signed it; a message is *set aside* when nobody may be answered (no sender, ourselves).

Promises. No mail is lost or taken twice. Card numbers, social security numbers and passwords are gone before a person sees a text; names,
addresses and texts are sealed. An urgent case is never in a release. A case is with one person at a time, and comes back when the lease
ends. Nobody gets more than five replies a day. `received` = `answered` + `open`, always.
"""
