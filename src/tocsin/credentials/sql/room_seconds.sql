-- Tickets per lane and second, all nodes together: a row per second that somebody still waits from. A queue of one hour gives 3,600 rows a
-- lane; read by primary key (lane, second, node); locks nothing.
SELECT lane, second, sum(issued)::bigint FROM credentials_roomsecond GROUP BY lane, second ORDER BY lane, second
