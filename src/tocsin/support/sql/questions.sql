-- Every question with how many cases ask it, open and in all, and its newest approved answer. Some dozen rows out; counts through the case's question.
SELECT q.name, q.title, count(c.id) FILTER (WHERE c.state = 'open'), count(c.id), q.never_bulk,
       (SELECT a.id FROM support_answer a WHERE a.question_id = q.id AND cardinality(a.approved_by) >= %(approvals)s ORDER BY a.version DESC LIMIT 1)
  FROM support_question q
  LEFT JOIN support_case c ON c.question_id = q.id
 GROUP BY q.id
 ORDER BY 3 DESC, q.name
