-- What the leader decided in this tick (function of migration 0041). Updates the room's row and its lanes; deletes seconds that were passed.
SELECT credentials_room_move(%(open)s, %(rate)s, %(factor)s, %(credit)s, %(capacity)s, %(hashes)s, %(wait_p95_ms)s, %(admitted_per_s)s, %(nodes)s,
  %(pending)s, %(issued_total)s, %(used_total)s, %(direct)s, %(used)s, %(cut)s, %(lanes)s::int[], %(marks)s::float8[], %(admitted)s::float8[])
