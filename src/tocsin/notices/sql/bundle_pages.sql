-- On which pages of its bundle each letter stands. Rows: a bundle's; index notices_bundledletter_place.
UPDATE notices_bundledletter p SET first_page = w.first, pages = w.pages
FROM unnest(%(places)s::int[], %(firsts)s::int[], %(pages)s::int[]) AS w (place, first, pages)
WHERE p.bundle_id = %(bundle)s AND p.place = w.place
