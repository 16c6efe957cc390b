"""Which vetted question a mail asks: TF-IDF of words and letters, multinomial logistic regression, the best sentence counts.

Always there, needs no model file and no network. Features: words 1-2 and letters 2-5 inside words, 1 + log count, inverse document frequency,
unit length; columns are the features seen in training, so unknown ones weigh nothing. Fit: L-BFGS on the regularised log-loss.
Per sentence, because a mail's greeting, complaints and name drown its question: on wrapped questions whole mails lose half the accuracy.
Score of a mail for a question: the highest, over its sentences, of probability x similarity to the nearest example (unknown matters are
confidently misjudged by probability alone).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

# scipy is imported where it is used: it takes over a second, and every process of an estate loads this module.

BULK_SCORE = 0.30  # at and above it a case may be answered in bulk; measured in tests/support/test_policy.py
SECOND_SCORE = 0.30  # a second question above it makes the mail one for a person
URGENT_SCORE = 0.20  # at and above it a sentence that looks like an urgent question makes the mail urgent
RIDGE = 1e-4
STEPS_MAX = 60
# What people write around their question. Learned as a class of its own that no mail is given: such a sentence must not look like a question.
BACKGROUND = "background"
SMALL_TALK = (
    "I am a loyal customer.", "I have bought from you many times.", "I heard about it on television.", "A friend told me about this.",
    "I saw the news yesterday evening.", "I am very upset about this.", "This makes me nervous.", "I am disappointed in you.",
    "To be honest I am angry.", "I hope you are all well.", "My husband got this as well.", "My brother received one too.",
    "We order from your shop quite often.", "I got your e-mail today.", "Your letter reached me yesterday.", "I read your notice.",
    "I am writing about your message.", "I just saw your announcement.", "I look forward to hearing from you.",
    "Please get back to me quickly.", "Please let me know.", "A quick reply would be nice.", "I would appreciate an answer.",
    "Sorry to bother you.", "I know you must be busy.", "I have a question.", "Can you help me?", "Many thanks for your help in advance.",
    "All the best to you.", "I live at this address.", "Excuse my typing, I am on my phone.", "I never had problems with you before.",
    "This is the second time I write.",
)  # fmt: skip
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says of one mail: questions by score, best first, and the sentence that decided.

    `question` is the one to answer in bulk, None unless it is clear and alone. `urgent`: names of urgent questions that some sentence
    resembles.
    """

    ranking: tuple[tuple[str, float], ...]
    question: str | None
    score: float
    urgent: tuple[str, ...]


def features(text: str) -> Counter[str]:
    """Return the features of a sentence with their counts."""
    words = _WORD.findall(text.lower().replace("’", "'"))
    found: Counter[str] = Counter(words)
    found.update(f"{a} {b}" for a, b in pairwise(words))
    grams: list[str] = []
    for word in words:
        padded = f"_{word}_"
        for n in range(2, 6):
            grams += [f"#{padded[i : i + n]}" for i in range(len(padded) - n + 1)]
    found.update(grams)
    return found


@dataclass(slots=True)
class Classifier:
    """A fitted classifier; make it with `fit`. Immutable once made."""

    names: tuple[str, ...]
    never_bulk: frozenset[str]
    columns: dict[str, int]
    idf: Any
    examples: Any
    owners: Any
    weights: Any
    bias: Any = field(default=None)

    def vectors(self, texts: Iterable[str]) -> Any:
        """Return one row of unit length per text, over the features known."""
        return _matrix([features(t) for t in texts], self.columns, self.idf)

    def probabilities(self, texts: Sequence[str]) -> Any:
        """Return texts x questions, rows summing to 1."""
        return _softmax(self.vectors(texts) @ self.weights + self.bias)

    def judge(self, sentences: Sequence[str]) -> Verdict:
        """Return what a mail of these sentences asks."""
        if not sentences or not self.names:
            return Verdict((), None, 0.0, ())
        rows = self.vectors(sentences)
        chance = _softmax(rows @ self.weights + self.bias)
        likeness = np.zeros_like(chance)
        near = (rows @ self.examples.T).toarray()
        for k in range(len(self.names)):
            likeness[:, k] = near[:, self.owners == k].max(axis=1)
        scores = (chance * likeness).max(axis=0)
        order = np.argsort(-scores, kind="stable")
        ranking = tuple((self.names[i], float(scores[i])) for i in order if self.names[i] != BACKGROUND)
        best, second = ranking[0], ranking[1][1] if len(ranking) > 1 else 0.0
        urgent = tuple(name for name, score in ranking if name in self.never_bulk and score >= URGENT_SCORE)
        clear = best[1] >= BULK_SCORE and second < SECOND_SCORE and not urgent
        return Verdict(ranking, best[0] if clear else None, best[1], urgent)


def fit(examples: Sequence[tuple[str, str]], *, never_bulk: Iterable[str] = ()) -> Classifier:
    """Return the classifier of (question, phrasing) pairs. Same pairs, same classifier. 0.2 s for 120, a minute for 10,000."""
    names = tuple(sorted({name for name, _ in examples}))
    counted = [features(text) for _, text in examples]
    seen = Counter(f for c in counted for f in c)
    columns = {f: i for i, f in enumerate(sorted(seen))}
    idf = np.array([math.log((1 + len(counted)) / (1 + seen[f])) + 1 for f in columns], dtype=np.float64)
    rows = _matrix(counted, columns, idf)
    owners = np.array([names.index(name) for name, _ in examples], dtype=np.int64)
    weights, bias = _regress(rows, owners, len(names)) if names else (np.zeros((0, 0)), np.zeros(0))
    return Classifier(names, frozenset(never_bulk), columns, idf, rows, owners, weights, bias)


def _matrix(counted: Sequence[Counter[str]], columns: dict[str, int], idf: Any) -> Any:
    indices: list[int] = []
    values: list[float] = []
    starts = [0]
    for counts in counted:
        for feature, n in counts.items():
            column = columns.get(feature)
            if column is not None:
                indices.append(column)
                values.append((1 + math.log(n) if n > 1 else 1.0) * idf[column])
        starts.append(len(indices))
    data = np.array(values, dtype=np.float64)
    for a, b in pairwise(starts):
        length = math.sqrt(float(np.dot(data[a:b], data[a:b])))
        if length:
            data[a:b] /= length
    from scipy.sparse import csr_matrix

    return csr_matrix((data, np.array(indices, dtype=np.int32), np.array(starts, dtype=np.int32)), shape=(len(counted), len(columns)))


def _regress(rows: Any, owners: Any, k: int) -> tuple[Any, Any]:
    """Fit weights and bias by L-BFGS; the loss is convex, so that the start does not matter."""
    n, d = rows.shape
    ridge, turned = RIDGE / math.sqrt(n / 100) if n else RIDGE, rows.T.tocsr()
    wanted = np.zeros((n, k))
    wanted[np.arange(n), owners] = 1.0

    def loss(flat: Any) -> tuple[float, Any]:
        w, b = flat[: d * k].reshape(d, k), flat[d * k :]
        chance = _softmax(rows @ w + b)
        error = (chance - wanted) / n
        value = -float(np.log(np.maximum(chance[np.arange(n), owners], 1e-12)).mean()) + ridge / 2 * float((w * w).sum())
        return value, np.concatenate([(turned @ error + ridge * w).ravel(), error.sum(axis=0)])

    from scipy.optimize import minimize

    found = minimize(loss, np.zeros(d * k + k), jac=True, method="L-BFGS-B", options={"maxiter": STEPS_MAX, "maxcor": 6})
    return found.x[: d * k].reshape(d, k), found.x[d * k :]


def _softmax(scores: Any) -> Any:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
