-- Each lane's watermark and how many it let through since the room was last open. At most 3 rows; locks nothing.
SELECT lane, mark, admitted FROM credentials_roomlane ORDER BY lane
