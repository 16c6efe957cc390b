-- The cases a release may answer: open, nobody's, not urgent, clearly this question. Through support_case_alike; at most %(most)s ids.
SELECT id FROM support_case
 WHERE state = 'open' AND question_id = %(question)s AND urgency = '' AND score >= %(score)s
   AND (lease_until IS NULL OR lease_until <= %(at)s)
 ORDER BY id
 LIMIT %(most)s
