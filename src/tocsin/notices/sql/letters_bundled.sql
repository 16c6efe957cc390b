-- Letters that go into a bundle now: which address they go to. Rows: a bundle's; locks them.
UPDATE notices_letter l SET state = 'bundled', kind = w.kind, country = w.country, address_mac = w.mac, faults = '[]'
FROM unnest(%(letters)s::bigint[], %(kinds)s::text[], %(countries)s::text[], %(macs)s::bytea[]) AS w (id, kind, country, mac)
WHERE l.id = w.id
