insert into writers (id, name, born, langs, email) values
    (1, 'Ada Lovelace', '1815-12-10', '{english,french}', 'ada@example.test'),
    (2, 'Bertha Suttner', '1843-06-09', '{german,french}', 'bertha@example.test'),
    (3, 'Chinua Achebe', '1930-11-16', '{english,igbo}', 'chinua@example.test'),
    (4, 'Nobody Yet', null, '{}', null);

insert into books (id, title, year, price, rating, in_print, tags, meta, kind, writer, editor, sequel_of) values
    (1, 'Notes on the Engine', 1843, 12.50, 4.5, true, '{math,engines}',
     '{"isbn": "a-1", "formats": ["hard", "soft"], "size": {"w": 12}}', 'essay', 1, 2, null),
    (2, 'Lay Down Your Arms', 1889, 9.99, 4, true, '{peace,novel}', '{"isbn": "b-2", "formats": ["soft"]}', 'novel', 2, null, null),
    (3, 'Things Fall Apart', 1958, 15.00, 4.8, true, '{novel,nigeria}', '{"isbn": "c-3", "formats": ["hard"]}', 'novel', 3, 1, null),
    (4, 'No Longer at Ease', 1960, 14.00, 4.1, true, '{novel,nigeria}', '{}', 'novel', 3, null, 3),
    (5, 'Arrow of God, 100% "new"', 1964, null, null, true, '{}', '{"size": {"w": 9}}', 'novel', 3, null, null),
    (6, 'The Hidden Draft', 2026, 1.00, 1, false, '{math}', '{}', 'essay', 1, null, null);

insert into reviews (id, book, stars, body, at) values
    (1, 1, 5, 'A cat sat on the engine', '2026-01-01 10:00+00'),
    (2, 1, 3, 'Fat cats, thin proofs', '2026-01-02 10:00+00'),
    (3, 2, 4, 'Peace, at last', '2026-01-03 10:00+00'),
    (4, 3, 5, 'Okonkwo!', '2026-01-04 10:00+00'),
    (5, 3, 4, null, '2026-01-05 10:00+00'),
    (6, 6, 1, 'Nobody may read this', '2026-01-06 10:00+00');

insert into shelves (id, name) values (1, 'Window'), (2, 'Cellar');
insert into shelf_books (shelf, book) values (1, 1), (1, 3), (2, 6);
