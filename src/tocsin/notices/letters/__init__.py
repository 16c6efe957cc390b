"""Letters: addresses by country, pages set by Typst, bundles for a print house, and what comes back.

`address` checks and formats one postal address; `number` is what a letter is called outside; `body` turns a released text into
paragraphs; `setting` sets many letters into one PDF (`letter.typ`); `bundles` makes the files and writes down who is in which;
`returned` reads the list of what came back.

A letter says what the signed text says, in the words that two people released: nothing is added but the frame (sender, date, case code,
customer number, number of the page). Personal data outside the window: the salutation and the customer number of the released text.
"""
