-- People in one exposure and not in the other. Two anti joins on the primary key; one row.
SELECT
  (SELECT count(*) FROM incidents_exposedsubject b WHERE b.exposure_id = %(new)s AND NOT EXISTS
    (SELECT 1 FROM incidents_exposedsubject a WHERE a.exposure_id = %(old)s AND a.subject_id = b.subject_id)),
  (SELECT count(*) FROM incidents_exposedsubject a WHERE a.exposure_id = %(old)s AND NOT EXISTS
    (SELECT 1 FROM incidents_exposedsubject b WHERE b.exposure_id = %(new)s AND b.subject_id = a.subject_id))
