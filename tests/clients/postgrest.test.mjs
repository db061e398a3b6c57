// The published client, as npm has it, against the real server: what it builds, sends and makes of the answers.
// Run by `cargo test`, which starts the server on `project/` and says in the environment where it is.
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { PostgrestClient, PostgrestError } from '@supabase/postgrest-js'
import { createClient } from '@supabase/supabase-js'

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set: run this by \`cargo test published_clients\``)
const url = need('BW_URL')
const keys = { anon: need('BW_PUBLISHABLE'), service: need('BW_SECRET') }
const tokens = { ada: need('BW_TOKEN_ADA'), bob: need('BW_TOKEN_BOB'), editor: need('BW_TOKEN_EDITOR') }
const ADA = need('BW_ADA')

let calls = 0
const counted = (...given) => {
  calls += 1
  return fetch(...given)
}
const as = (bearer) =>
  new PostgrestClient(`${url}/rest/v1`, {
    headers: { apikey: keys.anon, Authorization: `Bearer ${bearer}` },
    fetch: counted,
  })
const anon = as(keys.anon)
const [ada, bob, editor, service] = [as(tokens.ada), as(tokens.bob), as(tokens.editor), as(keys.service)]
after(() => console.log(`calls: ${calls}`))

/** The rows of a call that must succeed. */
async function rows(call) {
  const { data, error, status } = await call
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}
/** The ids of a call that must succeed. */
const ids = async (call) => (await rows(call)).map((row) => row.id)
/** A call that must fail so. */
async function fails(call, status, code) {
  const answer = await call
  assert.deepEqual([answer.status, answer.error?.code], [status, code], JSON.stringify(answer))
  assert.equal(answer.data, null)
  return answer.error
}
const books = (columns = 'id') => anon.from('books').select(columns).order('id')

describe('select', () => {
  test('a missing select is every field that one may know', async () => {
    const [row] = await rows(anon.from('writers').select().eq('id', 1))
    assert.deepEqual(Object.keys(row).sort(), ['born', 'created_at', 'id', 'langs', 'name', 'updated_at'])
    assert.deepEqual([row.born, row.langs], ['1815-12-10', ['english', 'french']])
  })
  test('fields, in the order asked', async () => {
    const [row] = await rows(books('year, title, price, rating, in_print, kind').eq('id', 3))
    assert.deepEqual(Object.entries(row), [
      ['year', 1958], ['title', 'Things Fall Apart'], ['price', 15], ['rating', 4.8], ['in_print', true], ['kind', 'novel'],
    ])
  })
  test('an alias', async () => {
    assert.deepEqual(await rows(books('name:title').eq('id', 2)), [{ name: 'Lay Down Your Arms' }])
  })
  test('casts', async () => {
    assert.deepEqual(await rows(books('year::text, shown:price::text, rating::int').eq('id', 1)), [
      { year: '1843', shown: '12.50', rating: 4 },
    ])
    await fails(books('year::nonsense'), 400, '42704')
  })
  test('JSON paths', async () => {
    assert.deepEqual(await rows(books('meta->>isbn, meta->size->w, first:meta->formats->>0, last:meta->formats->-1').eq('id', 1)), [
      { isbn: 'a-1', w: 12, first: 'hard', last: 'soft' },
    ])
  })
  test('a path into an array', async () => {
    assert.deepEqual(await rows(books('tag:tags->>1').eq('id', 1)), [{ tag: 'engines' }])
  })
  test('an unknown field is no field', async () => {
    const error = await fails(books('id, nonsense'), 400, '42703')
    assert.match(error.message, /books\.nonsense does not exist/)
  })
  test('a hidden field is answered as one that does not exist', async () => {
    const hidden = await fails(anon.from('writers').select('email'), 400, '42703')
    const absent = await fails(anon.from('writers').select('emale'), 400, '42703')
    assert.equal(hidden.message.replace('email', 'X'), absent.message.replace('emale', 'X'))
    await fails(anon.from('writers').select('id').eq('email', 'ada@example.test'), 400, '42703')
    await fails(anon.from('writers').select('id').order('email'), 400, '42703')
  })
  test('a masked field is null where it is not shown, in filters too', async () => {
    assert.deepEqual(await rows(ada.from('writers').select('id, email').order('id').limit(2)), [
      { id: 1, email: 'ada@example.test' }, { id: 2, email: null },
    ])
    assert.deepEqual(await ids(ada.from('writers').select('id').eq('email', 'bertha@example.test')), [])
    assert.deepEqual(await ids(ada.from('writers').select('id').is('email', null).order('id')), [2, 3, 4])
  })
})

describe('filters', () => {
  test('eq', async () => assert.deepEqual(await ids(books().eq('title', 'Things Fall Apart')), [3]))
  test('eq with a comma, quotes and a percent sign', async () =>
    assert.deepEqual(await ids(books().eq('title', 'Arrow of God, 100% "new"')), [5]))
  test('neq', async () => assert.deepEqual(await ids(books().neq('kind', 'novel')), [1]))
  test('gt, gte, lt and lte', async () => {
    assert.deepEqual(await ids(books().gt('year', 1958)), [4, 5])
    assert.deepEqual(await ids(books().gte('year', 1958)), [3, 4, 5])
    assert.deepEqual(await ids(books().lt('price', 12.5)), [2])
    assert.deepEqual(await ids(books().lte('price', 12.5)), [1, 2])
  })
  test('two on one field', async () => assert.deepEqual(await ids(books().gt('year', 1843).lt('year', 1960)), [2, 3]))
  test('like and ilike', async () => {
    assert.deepEqual(await ids(books().like('title', '%Apart')), [3])
    assert.deepEqual(await ids(books().like('title', '%apart')), [])
    assert.deepEqual(await ids(books().ilike('title', '%APART')), [3])
  })
  test('likeAllOf and likeAnyOf', async () => {
    assert.deepEqual(await ids(books().likeAllOf('title', ['%No%', '%at%'])), [4])
    assert.deepEqual(await ids(books().likeAnyOf('title', ['Notes%', 'Things%'])), [1, 3])
  })
  test('ilikeAllOf and ilikeAnyOf', async () => {
    assert.deepEqual(await ids(books().ilikeAllOf('title', ['NO%', '%ease'])), [4])
    assert.deepEqual(await ids(books().ilikeAnyOf('title', ['notes%', 'THINGS%'])), [1, 3])
  })
  test('regexMatch and regexIMatch, for whoever signed in', async () => {
    const own = () => ada.from('books').select('id').order('id')
    assert.deepEqual(await ids(own().regexMatch('title', '^No[a-z]* ')), [1, 4])
    assert.deepEqual(await ids(own().regexIMatch('title', '^no[a-z]* L')), [4])
    await fails(books().regexMatch('title', '^No'), 401, '42501')
  })
  test('is', async () => {
    assert.deepEqual(await ids(books().is('price', null)), [5])
    assert.deepEqual(await ids(books().is('in_print', true)), [1, 2, 3, 4, 5])
    assert.deepEqual(await ids(books().is('in_print', false)), [])
  })
  test('isDistinct', async () => assert.deepEqual(await ids(books().isDistinct('rating', 4.8)), [1, 2, 4, 5]))
  test('in and notIn', async () => {
    assert.deepEqual(await ids(books().in('year', [1843, 1960, 1])), [1, 4])
    assert.deepEqual(await ids(anon.from('reviews').select('id').in('body', ['Peace, at last', '(a,b)'])), [3])
    assert.deepEqual(await ids(books().in('id', [])), [])
    assert.deepEqual(await ids(books().notIn('id', [1, 2, 3])), [4, 5])
  })
  test('contains, containedBy and overlaps of arrays', async () => {
    assert.deepEqual(await ids(books().contains('tags', ['novel', 'nigeria'])), [3, 4])
    assert.deepEqual(await ids(books().containedBy('tags', ['novel', 'peace', 'math'])), [2, 5])
    assert.deepEqual(await ids(books().overlaps('tags', ['peace', 'math'])), [1, 2])
  })
  test('contains and containedBy of JSON', async () => {
    assert.deepEqual(await ids(books().contains('meta', { formats: ['hard'] })), [1, 3])
    assert.deepEqual(await ids(books().containedBy('meta', { size: { w: 9 }, more: 1 })), [4, 5])
  })
  test('textSearch of every type', async () => {
    const reviews = () => anon.from('reviews').select('id').order('id')
    assert.deepEqual(await ids(reviews().textSearch('body', "'fat' & 'cat'", { config: 'english' })), [2])
    assert.deepEqual(await ids(reviews().textSearch('body', 'cats', { config: 'english', type: 'plain' })), [1, 2])
    assert.deepEqual(await ids(reviews().textSearch('body', 'fat cats', { config: 'english', type: 'phrase' })), [2])
    assert.deepEqual(await ids(reviews().textSearch('body', 'cat -fat', { config: 'english', type: 'websearch' })), [1])
  })
  test('ranges have no field here, and say so as the dialect does', async () => {
    await fails(books().rangeGt('year', '[1,2)'), 404, '42883')
    await fails(books().rangeAdjacent('year', '[1,2)'), 404, '42883')
  })
  test('match', async () => assert.deepEqual(await ids(books().match({ kind: 'novel', year: 1960 })), [4]))
  test('not', async () => {
    assert.deepEqual(await ids(books().not('price', 'is', null)), [1, 2, 3, 4])
    assert.deepEqual(await ids(books().not('id', 'in', '(1,2,3)')), [4, 5])
    assert.deepEqual(await ids(books().not('tags', 'cs', '{novel}')), [1, 5])
  })
  test('or', async () => assert.deepEqual(await ids(books().or('year.eq.1843,title.like.Arrow*')), [1, 5]))
  test('and inside or inside not', async () => {
    assert.deepEqual(await ids(books().or('id.eq.2,and(kind.eq.novel,not.or(year.lt.1960,price.is.null))')), [2, 4])
    assert.deepEqual(await ids(books().or('tags.cs.{math},title.in.("Arrow of God, 100% \\"new\\"")')), [1, 5])
  })
  test('two ors are both held', async () =>
    assert.deepEqual(await ids(books().or('id.eq.1,id.eq.2').or('year.gt.1850,year.lt.1800')), [2]))
  test('filter, any and all', async () => {
    assert.deepEqual(await ids(books().filter('year', 'eq', 1843)), [1])
    assert.deepEqual(await ids(books().filter('year', 'eq(any)', '{1843,1964}')), [1, 5])
    assert.deepEqual(await ids(books().filter('year', 'gt(all)', '{1889,1958}')), [4, 5])
  })
  test('JSON paths in filters', async () => {
    assert.deepEqual(await ids(books().eq('meta->>isbn', 'b-2')), [2])
    assert.deepEqual(await ids(books().gt('meta->size->w', 9)), [1])
  })
  test('what is not visible is not found by any filter', async () => {
    assert.deepEqual(await ids(books().eq('id', 6)), [])
    assert.deepEqual(await ids(books().or('id.eq.6,title.like.*Draft')), [])
    assert.deepEqual(await ids(editor.from('books').select('id').eq('id', 6)), [6])
  })
  test('a value of another kind is said to be one', async () => {
    await fails(books().eq('year', 'soon'), 400, '22P02')
    await fails(books().filter('year', 'nonsense', 1), 400, 'PGRST100')
    await fails(anon.from('loans').select('id').eq('id', 'x'), 404, 'PGRST205')
  })
})

describe('order and windows', () => {
  test('descending', async () =>
    assert.deepEqual(await ids(anon.from('books').select('id').order('year', { ascending: false })), [5, 4, 3, 2, 1]))
  test('nulls first and last', async () => {
    assert.deepEqual(await ids(anon.from('books').select('id').order('price', { nullsFirst: true })), [5, 2, 1, 4, 3])
    const last = anon.from('books').select('id').order('price', { ascending: false, nullsFirst: false })
    assert.deepEqual(await ids(last), [3, 4, 1, 2, 5])
  })
  test('by two fields and by a path', async () => {
    assert.deepEqual(await ids(anon.from('books').select('id').order('kind').order('year', { ascending: false })), [1, 5, 4, 3, 2])
    assert.deepEqual(await ids(anon.from('books').select('id').order('meta->>isbn', { ascending: false, nullsFirst: false }).limit(3)), [3, 2, 1])
  })
  test('by a field of a related record', async () =>
    assert.deepEqual(
      await ids(anon.from('books').select('id, writer(name)').order('writer(name)', { ascending: false }).order('id').limit(4)),
      [3, 4, 5, 2],
    ))
  test('limit and range', async () => {
    assert.deepEqual(await ids(books().limit(2)), [1, 2])
    assert.deepEqual(await ids(books().range(1, 2)), [2, 3])
    assert.deepEqual(await ids(books().range(4, 9)), [5])
  })
  test('an exact count of a page', async () => {
    const { data, count, status, statusText } = await anon.from('books').select('id', { count: 'exact' }).order('id').range(1, 2)
    assert.deepEqual([data.map((row) => row.id), count, status, statusText], [[2, 3], 5, 206, 'Partial Content'])
  })
  test('an exact count of everything', async () => {
    const { count, status, statusText } = await anon.from('books').select('id', { count: 'exact' })
    assert.deepEqual([count, status, statusText], [5, 200, 'OK'])
    assert.equal((await editor.from('books').select('id', { count: 'exact' })).count, 6)
  })
  test('head: a count and no rows', async () => {
    const { data, count, status } = await anon.from('books').select('*', { count: 'exact', head: true }).eq('kind', 'novel')
    assert.deepEqual([data, count, status], [null, 4, 200])
  })
  test('a page beyond the end', async () => {
    await fails(anon.from('books').select('id', { count: 'exact' }).range(50, 60), 416, 'PGRST103')
    assert.deepEqual(await ids(books().range(50, 60)), [])
  })
})

describe('one record', () => {
  test('single', async () => assert.deepEqual(await rows(books('title').eq('id', 1).single()), { title: 'Notes on the Engine' }))
  test('single of none and of many', async () => {
    assert.match((await fails(books().eq('id', 99).single(), 406, 'PGRST116')).details, /contains 0 rows/)
    assert.match((await fails(books().gt('id', 3).single(), 406, 'PGRST116')).details, /contains 2 rows/)
  })
  test('maybeSingle', async () => {
    assert.deepEqual(await rows(books().eq('id', 1).maybeSingle()), { id: 1 })
    assert.equal(await rows(books().eq('id', 99).maybeSingle()), null)
    assert.equal((await books().gt('id', 3).maybeSingle()).error.code, 'PGRST116')
  })
})

describe('embeds', () => {
  test('to one, by the relation field and by the target', async () => {
    const ada = { name: 'Ada Lovelace' }
    assert.deepEqual(await rows(books('title, writer(name)').eq('id', 1)), [{ title: 'Notes on the Engine', writer: ada }])
    assert.deepEqual(await rows(books('by:writers!writer(name)').eq('id', 1)), [{ by: ada }])
    assert.deepEqual(await rows(books('by:writers!books_writer_fkey(name)').eq('id', 1)), [{ by: ada }])
  })
  test('to one that is not there', async () =>
    assert.deepEqual(await rows(books('id, editor(name)').in('id', [1, 2])), [
      { id: 1, editor: { name: 'Bertha Suttner' } }, { id: 2, editor: null },
    ]))
  test('two relations to one target are ambiguous', async () => {
    const error = await fails(books('writers(name)'), 300, 'PGRST201')
    assert.deepEqual(error.details.map((one) => one.cardinality), ['many-to-one', 'many-to-one'])
    assert.match(error.hint, /writers!books_writer_fkey/)
  })
  test('to many', async () =>
    assert.deepEqual(await rows(anon.from('writers').select('name, books!writer(id)').in('id', [2, 4]).order('id')), [
      { name: 'Bertha Suttner', books: [{ id: 2 }] }, { name: 'Nobody Yet', books: [] },
    ]))
  test('to many holds only what one may see', async () => {
    const ofAda = (client) => client.from('writers').select('books!writer(id)').eq('id', 1).order('id', { referencedTable: 'books' }).single()
    assert.deepEqual(await rows(ofAda(anon)), { books: [{ id: 1 }] })
    assert.deepEqual(await rows(ofAda(editor)), { books: [{ id: 1 }, { id: 6 }] })
  })
  test('by the name of the inverse, and of oneself', async () => {
    assert.deepEqual(await rows(anon.from('writers').select('edited(id)').eq('id', 1).single()), { edited: [{ id: 3 }] })
    assert.deepEqual(await rows(books('sequels(id), sequel_of(id)').eq('id', 3)), [{ sequels: [{ id: 4 }], sequel_of: null }])
    assert.deepEqual(await rows(books('sequel_of(title)').eq('id', 4)), [{ sequel_of: { title: 'Things Fall Apart' } }])
  })
  test('nested, with an alias on each level', async () =>
    assert.deepEqual(
      await rows(anon.from('reviews').select('stars, of:book(title, by:writer(name, langs))').eq('id', 4).single()),
      { stars: 5, of: { title: 'Things Fall Apart', by: { name: 'Chinua Achebe', langs: ['english', 'igbo'] } } },
    ))
  test('many to many, through the pairs', async () =>
    assert.deepEqual(
      await rows(anon.from('shelves').select('name, shelf_books(book(title))').order('id').order('book', { referencedTable: 'shelf_books' })),
      [
        { name: 'Window', shelf_books: [{ book: { title: 'Notes on the Engine' } }, { book: { title: 'Things Fall Apart' } }] },
        { name: 'Cellar', shelf_books: [] },
      ],
    ))
  test('many to many, past the pairs', async () => {
    assert.deepEqual(await rows(books('id, shelves(name)').in('id', [1, 2])), [
      { id: 1, shelves: [{ name: 'Window' }] }, { id: 2, shelves: [] },
    ])
    const onShelves = (client) => client.from('shelves').select('books(id)').order('id').order('id', { referencedTable: 'books' })
    assert.deepEqual(await rows(onShelves(anon)), [{ books: [{ id: 1 }, { id: 3 }] }, { books: [] }])
    // The pair of a book that is not in print is as hidden from an editor as from everybody, though the book is not.
    assert.deepEqual(await rows(onShelves(editor)), await rows(onShelves(anon)))
  })
  test('a filter on an embed filters the embed', async () =>
    assert.deepEqual(await rows(books('id, reviews(id)').eq('reviews.stars', 5).in('id', [1, 2])), [
      { id: 1, reviews: [{ id: 1 }] }, { id: 2, reviews: [] },
    ]))
  test('with !inner it filters the parents too', async () => {
    assert.deepEqual(await rows(books('id, reviews!inner(id)').eq('reviews.stars', 5)), [
      { id: 1, reviews: [{ id: 1 }] }, { id: 3, reviews: [{ id: 4 }] },
    ])
    assert.deepEqual(await ids(books('id, writer!inner(name)').eq('writer.name', 'Chinua Achebe')), [3, 4, 5])
  })
  test('an exact count follows !inner', async () =>
    assert.equal((await anon.from('books').select('id, reviews!inner()', { count: 'exact', head: true })).count, 3))
  test('order, limit and or on an embed', async () => {
    const embed = { referencedTable: 'reviews' }
    assert.deepEqual(await rows(books('reviews(id)').eq('id', 1).order('stars', embed).limit(1, embed)), [{ reviews: [{ id: 2 }] }])
    assert.deepEqual(await rows(books('reviews(id)').eq('id', 1).or('stars.eq.3,body.is.null', embed)), [{ reviews: [{ id: 2 }] }])
    assert.deepEqual(await rows(books('reviews(id)').eq('id', 1).order('id', embed).range(1, 1, embed)), [{ reviews: [{ id: 2 }] }])
  })
  test('rows with and without a related one', async () => {
    assert.deepEqual(await ids(books('id, reviews()').is('reviews', null)), [4, 5])
    assert.deepEqual(await ids(books('id, reviews()').not('reviews', 'is', null)), [1, 2, 3])
  })
  test('a relation field is filtered by its key although the request embeds it under the same name', async () => {
    assert.deepEqual(await ids(books('id, writer(name)').eq('writer', 3)), [3, 4, 5])
    assert.deepEqual(await ids(books('id, editor(name)').in('editor', [1, 2])), [1, 3])
    assert.deepEqual(await ids(books('id, editor(name)').or('editor.eq.1,id.eq.2')), [2, 3])
    assert.deepEqual(await ids(books('id, writer(name)').order('writer', { ascending: false }).limit(2)), [1, 2])
  })
  test('the count of an embed', async () =>
    assert.deepEqual(await rows(books('id, reviews(count)').in('id', [1, 4])), [
      { id: 1, reviews: [{ count: 2 }] }, { id: 4, reviews: [{ count: 0 }] },
    ]))
  test('spread, of one and of many', async () => {
    assert.deepEqual(await rows(books('id, ...writer(by:name)').lte('id', 2)), [
      { id: 1, by: 'Ada Lovelace' }, { id: 2, by: 'Bertha Suttner' },
    ])
    assert.deepEqual(await rows(anon.from('writers').select('id, ...edited(edits:title)').in('id', [1, 4]).order('id')), [
      { id: 1, edits: ['Things Fall Apart'] }, { id: 4, edits: [] },
    ])
  })
  test('no relation, and an embed that was not asked for', async () => {
    await fails(anon.from('reviews').select('id, shelves(name)'), 400, 'PGRST200')
    await fails(books('id, loans(item)'), 400, 'PGRST200')
    await fails(books('id').eq('reviews.stars', 5), 400, 'PGRST108')
  })
})

describe('writes', () => {
  /** The answer to a body that is sent as it stands. */
  const raw = async (body) => {
    const headers = { apikey: keys.anon, Authorization: `Bearer ${tokens.ada}`, 'Content-Type': 'application/json' }
    return (await counted(`${url}/rest/v1/loans`, { method: 'POST', headers, body })).json()
  }
  const mine = (columns = 'item, copies, state') => ada.from('loans').select(columns).order('item')

  test('insert without select answers nothing', async () => {
    const { data, error, status, statusText } = await ada.from('loans').insert({ item: 'lamp' })
    assert.deepEqual([data, error, status, statusText], [null, null, 201, 'Created'])
  })
  test('insert with select answers the row with its defaults', async () => {
    const row = await rows(ada.from('loans').insert({ item: 'map', note: 'of the sea' }).select().single())
    assert.match(row.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    assert.deepEqual([row.owner, row.copies, row.state, row.note], [ADA, 1, 'open', 'of the sea'])
  })
  test('insert of many, with a count', async () => {
    const { data, count } = await ada.from('loans').insert([{ item: 'chair', copies: 4 }, { item: 'table', copies: 1 }], { count: 'exact' }).select('item, copies')
    assert.deepEqual([data, count], [[{ item: 'chair', copies: 4 }, { item: 'table', copies: 1 }], 2])
  })
  test('members that some rows lack are null, or the default where asked', async () => {
    await fails(ada.from('loans').insert([{ item: 'rug', copies: 2 }, { item: 'vase' }]), 400, 'validation_failed')
    const call = ada.from('loans').insert([{ item: 'rug', copies: 2 }, { item: 'vase' }], { defaultToNull: false })
    assert.deepEqual(await rows(call.select('item, copies')), [{ item: 'rug', copies: 2 }, { item: 'vase', copies: 1 }])
  })
  test('insert of nothing', async () => assert.deepEqual(await rows(ada.from('loans').insert([]).select()), []))
  test('what was written is seen by its owner and by nobody else', async () => {
    assert.deepEqual((await rows(mine('item'))).map((row) => row.item), ['chair', 'lamp', 'map', 'rug', 'table', 'vase'])
    assert.deepEqual(await rows(bob.from('loans').select()), [])
    await fails(anon.from('loans').select(), 404, 'PGRST205')
  })
  test('all faults of a body at once', async () => {
    const answer = await ada.from('loans').insert({ item: 'x', copies: 12, state: 'lost', note: 7 })
    assert.deepEqual([answer.status, answer.error.code], [400, 'validation_failed'])
    const { fields } = await raw(JSON.stringify({ item: 'x', copies: 12, state: 'lost', note: 7 }))
    assert.deepEqual(fields.map((fault) => fault.pointer).sort(), ['/copies', '/item', '/note', '/state'])
  })
  test('what no client writes is judged too', async () => {
    const { fields } = await raw('{"item": "globe", "copies": 1e400, "note": -1e400}')
    assert.deepEqual(fields.map((fault) => [fault.pointer, fault.code]).sort(), [['/copies', 'max'], ['/note', 'kind']])
    const broken = await raw('{"item": "globe", "note": "\\ud800"}')
    assert.deepEqual([broken.code, broken.fields.map((fault) => fault.pointer)], ['validation_failed', ['/note']])
    assert.deepEqual(await rows(mine().eq('item', 'globe')), [])
  })
  test('a column that does not exist, and one that is decided', async () => {
    await fails(ada.from('loans').insert({ item: 'pen', colour: 'red' }), 400, 'PGRST204')
    await fails(ada.from('loans').insert({ item: 'pen', owner: '00000000-0000-4000-8000-000000000b0b' }), 403, '42501')
  })
  test('a second one of what is unique', async () => {
    const error = await fails(ada.from('loans').insert({ item: 'lamp' }), 409, '23505')
    assert.doesNotMatch(JSON.stringify(error), /lamp/)
  })
  test('a reference to nothing', async () =>
    void (await fails(service.from('reviews').insert({ id: 90, book: 999, stars: 3 }), 409, '23503')))
  test('upsert writes over what is there', async () => {
    const again = await ada.from('loans').upsert({ item: 'lamp', copies: 3 }, { onConflict: 'owner,item' }).select('item, copies')
    assert.deepEqual([again.data, again.status], [[{ item: 'lamp', copies: 3 }], 200], JSON.stringify(again.error))
    const both = await ada.from('loans').upsert([{ item: 'lamp', copies: 4 }, { item: 'kettle', copies: 1 }], { onConflict: 'owner,item' }).select('copies')
    assert.deepEqual([both.data.map((row) => row.copies), both.status], [[4, 1], 201])
  })
  test('upsert that ignores what is there', async () => {
    const call = ada.from('loans').upsert([{ item: 'lamp', copies: 9 }, { item: 'spoon', copies: 9 }], { onConflict: 'owner,item', ignoreDuplicates: true })
    assert.deepEqual(await rows(call.select('item, copies')), [{ item: 'spoon', copies: 9 }])
    assert.deepEqual(await rows(mine('copies').eq('item', 'lamp').single()), { copies: 4 })
  })
  test('upsert by the key', async () => {
    const { id } = await rows(mine('id').eq('item', 'map').single())
    const call = ada.from('loans').upsert({ id, item: 'map', copies: 2 }).select('id, copies').single()
    await fails(call, 403, '42501') // the id is not among the fields that may be written
    assert.deepEqual(await rows(service.from('shelves').upsert([{ id: 2, name: 'Basement' }, { id: 3, name: 'Attic' }]).select()
      .then(({ data, error }) => ({ error, data: data?.map((row) => row.name) }))), ['Basement', 'Attic'])
  })
  test('update without select', async () => {
    const { data, error, status } = await ada.from('loans').update({ state: 'closed' }).eq('item', 'rug')
    assert.deepEqual([data, error, status], [null, null, 204])
  })
  test('update with select and a count', async () => {
    const { data, count, status } = await ada.from('loans').update({ copies: 5 }, { count: 'exact' }).in('item', ['chair', 'table']).select('item, copies')
    assert.deepEqual([data.sort((a, b) => (a.item < b.item ? -1 : 1)), count, status], [[{ item: 'chair', copies: 5 }, { item: 'table', copies: 5 }], 2, 200])
  })
  test('update of what is somebody else\'s, or nothing, changes nothing', async () => {
    assert.deepEqual(await rows(bob.from('loans').update({ copies: 9 }).eq('item', 'chair').select()), [])
    assert.deepEqual(await rows(ada.from('loans').update({ copies: 9 }).eq('item', 'nothing').select()), [])
    assert.deepEqual(await rows(mine('copies').eq('item', 'chair').single()), { copies: 5 })
  })
  test('update of a field that one may not write', async () => {
    await fails(editor.from('books').update({ title: 'Mine' }).eq('id', 1), 403, '42501')
    await fails(ada.from('books').update({ price: 1 }).eq('id', 1), 403, '42501')
    await fails(anon.from('books').update({ price: 1 }).eq('id', 1), 401, '42501')
    const changed = editor.from('books').update({ price: '13.25', tags: ['math', 'a,b', '"c"'] }).eq('id', 1).select('price, tags, writer(name)').single()
    assert.deepEqual(await rows(changed), { price: 13.25, tags: ['math', 'a,b', '"c"'], writer: { name: 'Ada Lovelace' } })
  })
  test('a single update that meets many rows is undone', async () => {
    const call = ada.from('loans').update({ copies: 7 }).gt('copies', 0).select('id').single()
    assert.match((await fails(call, 406, 'PGRST116')).details, /contains 8 rows/)
    assert.deepEqual(await rows(mine('item').eq('copies', 7)), [])
  })
  test('maxAffected', async () => {
    const error = await fails(ada.from('loans').update({ copies: 7 }).gt('copies', 0).maxAffected(7), 400, 'PGRST124')
    assert.equal(error.details, 'The query affects 8 rows')
    // Also where the answer's own filter leaves no row of those that were written.
    await fails(ada.from('loans').delete().eq('state', 'closed').maxAffected(0).select('item'), 400, 'PGRST124')
    await fails(ada.from('loans').update({ copies: 7 }).gt('copies', 0).maxAffected(7).select('item'), 400, 'PGRST124')
    assert.deepEqual(await rows(mine('item').eq('copies', 7)), [])
    assert.deepEqual(await rows(mine('item').eq('state', 'closed')), [{ item: 'rug' }])
    assert.equal((await ada.from('loans').update({ copies: 7 }).eq('item', 'chair').maxAffected(1)).status, 204)
  })
  test('delete takes what the policy lets go', async () => {
    assert.deepEqual(await rows(ada.from('loans').delete().in('item', ['rug', 'table']).select('item')), [{ item: 'rug' }])
    const { status, count } = await ada.from('loans').delete({ count: 'exact' }).eq('item', 'table')
    assert.deepEqual([status, count], [204, 0])
  })
  test('a write by whoever may not', async () => {
    await fails(anon.from('books').insert({ id: 9, title: 'x', writer: 1 }), 401, '42501')
    await fails(ada.from('books').insert({ id: 9, title: 'x', writer: 1 }), 403, '42501')
    await fails(ada.from('books').delete().eq('id', 1), 403, '42501')
  })
})

describe('the rest of the client', () => {
  test('throwOnError throws the server\'s own error', async () => {
    await assert.rejects(async () => await books('nonsense').throwOnError(), (error) => {
      assert.ok(error instanceof PostgrestError)
      assert.equal(error.code, '42703')
      return true
    })
  })
  test('abortSignal ends the call', async () => {
    const { error, status } = await books().abortSignal(AbortSignal.abort())
    assert.equal(status, 0)
    assert.match(error.message, /AbortError/)
    assert.deepEqual(await ids(books().abortSignal(AbortSignal.timeout(30_000)).limit(1)), [1])
  })
  test('an explanation is for the secret key alone', async () => {
    for (const format of ['text', 'json']) await fails(books().explain({ format }), 406, 'PGRST107')
    const operator = new PostgrestClient(`${url}/rest/v1`, {
      headers: { apikey: keys.service, Authorization: `Bearer ${tokens.ada}` },
      fetch: counted,
    })
    const call = () => operator.from('books').select('id, title').eq('id', 1)
    const text = await rows(call().explain())
    assert.match(text, /^(Limit|Index|Seq)/)
    assert.match(text, /books\.read\[0\]/)
    const [{ Plan, Basewright }] = await rows(call().explain({ format: 'json', analyze: true, verbose: true, settings: true, buffers: true, wal: true }))
    assert.deepEqual([Plan['Actual Rows'], Basewright.caller.id], [1, ADA])
    const [single] = await rows(call().single().explain({ format: 'json' }))
    assert.ok(single.Plan)
    const secret = new PostgrestClient(`${url}/rest/v1`, { headers: { apikey: keys.service }, fetch: counted })
    const before = await rows(service.from('books').select('id, in_print').order('id'))
    const [written] = await rows(secret.from('books').update({ in_print: false }).gt('id', 0).explain({ format: 'json', analyze: true }))
    assert.match(written.Basewright.sql, /update public."books"/)
    assert.deepEqual(await rows(service.from('books').select('id, in_print').order('id')), before)
  })
  test('functions are not open', async () => {
    assert.equal((await anon.rpc('version')).error !== null, true)
  })
  test('another schema is refused, and public is this one', async () => {
    await fails(anon.schema('auth').from('users').select(), 406, 'PGRST106')
    assert.deepEqual(await ids(anon.schema('public').from('books').select('id').eq('id', 1)), [1])
  })
  test('a collection that does not exist', async () => {
    const error = await fails(anon.from('nonsense').select(), 404, 'PGRST205')
    assert.match(error.message, /nonsense/)
  })
  test('a key or a token that is none', async () => {
    const nobody = new PostgrestClient(`${url}/rest/v1`, { fetch: counted })
    assert.equal((await nobody.from('books').select()).status, 401)
    await fails(as('no.such.token').from('books').select(), 401, 'PGRST301')
  })
})

describe('supabase-js', () => {
  // The client makes its realtime part at once, which wants a WebSocket; Node 20 has none and nothing here opens one.
  const common = { global: { fetch: counted }, realtime: { transport: globalThis.WebSocket ?? class {} } }
  const options = (token) => ({ ...common, accessToken: async () => token })

  test('the publishable key alone is anonymous', async () => {
    const client = createClient(url, keys.anon, { ...common, auth: { persistSession: false, autoRefreshToken: false } })
    assert.deepEqual(await ids(client.from('books').select('id').order('id')), [1, 2, 3, 4, 5])
  })
  test('an access token is its user', async () => {
    const client = createClient(url, keys.anon, options(tokens.bob))
    const row = await rows(client.from('loans').insert({ item: 'atlas' }).select('item, owner').single())
    assert.deepEqual(row, { item: 'atlas', owner: need('BW_BOB') })
    assert.deepEqual(await rows(client.from('loans').select('item')), [{ item: 'atlas' }])
  })
  test('a token with a role has its rights', async () => {
    const client = createClient(url, keys.anon, options(tokens.editor))
    assert.deepEqual(await ids(client.from('books').select('id, writer!inner(name)').eq('writer.name', 'Ada Lovelace').order('id')), [1, 6])
  })
  test('the secret key may do everything', async () => {
    const client = createClient(url, keys.service, { ...common, auth: { persistSession: false, autoRefreshToken: false } })
    const { count } = await client.from('loans').select('*', { count: 'exact', head: true })
    assert.ok(count >= 6)
  })
})
