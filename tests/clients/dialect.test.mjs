// What the published client has a call for in the rest of the dialect: junctions, spreads, related filters and orders,
// estimated counts, CSV, stripped nulls, and what it makes of statuses. It leaves the rows as it found them for the other
// file, which asks the same server.
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { PostgrestClient } from '@supabase/postgrest-js'

const need = (name) => process.env[name] ?? assert.fail(`${name} is not set: run this by \`cargo test published_clients\``)

let calls = 0
const as = (bearer) =>
  new PostgrestClient(`${need('BW_URL')}/rest/v1`, {
    headers: { apikey: need('BW_PUBLISHABLE'), Authorization: `Bearer ${bearer}` },
    fetch: (...given) => {
      calls += 1
      return fetch(...given)
    },
  })
const [anon, editor] = [as(need('BW_PUBLISHABLE')), as(need('BW_TOKEN_EDITOR'))]
after(() => console.log(`dialect calls: ${calls}`))

/** The rows of a call that must succeed. */
async function rows(call) {
  const { data, error, status } = await call
  assert.equal(error, null, `${status} ${JSON.stringify(error)}`)
  return data
}
/** A call that must fail so. */
async function fails(call, status, code) {
  const answer = await call
  assert.deepEqual([answer.status, answer.error?.code], [status, code], JSON.stringify(answer))
  return answer.error
}
const shelves = (columns) => anon.from('shelves').select(columns).order('id')
const books = (columns) => anon.from('books').select(columns).order('id')

describe('junctions', () => {
  test('lead to the other side, as far as the caller may see', async () => {
    assert.deepEqual(await rows(shelves('name, books(title)').order('id', { referencedTable: 'books' })), [
      { name: 'Window', books: [{ title: 'Notes on the Engine' }, { title: 'Things Fall Apart' }] },
      { name: 'Cellar', books: [] },
    ])
  })
  test('and back', async () => {
    assert.deepEqual(await rows(books('id, shelves(name)').in('id', [1, 2])), [
      { id: 1, shelves: [{ name: 'Window' }] },
      { id: 2, shelves: [] },
    ])
  })
  test('by the name of the junction, with an alias, a window and a filter', async () => {
    const asked = shelves('name, read:books!shelf_books(id)').gt('read.id', 1).limit(1, { referencedTable: 'read' })
    assert.deepEqual(await rows(asked), [{ name: 'Window', read: [{ id: 3 }] }, { name: 'Cellar', read: [] }])
  })
  test('inner', async () => {
    assert.deepEqual(await rows(shelves('name, books!inner()')), [{ name: 'Window' }])
  })
  test('count', async () => {
    assert.deepEqual(await rows(shelves('id, books(count)')), [
      { id: 1, books: [{ count: 2 }] },
      { id: 2, books: [{ count: 0 }] },
    ])
  })
  test('nest', async () => {
    const asked = shelves('id, books(id, writer(name))').eq('id', 1).order('id', { referencedTable: 'books' })
    assert.deepEqual(await rows(asked), [
      { id: 1, books: [{ id: 1, writer: { name: 'Ada Lovelace' } }, { id: 3, writer: { name: 'Chinua Achebe' } }] },
    ])
  })
  test('no such junction', async () => {
    await fails(shelves('id, books!nonsense(id)'), 400, 'PGRST200')
  })
})

describe('spread', () => {
  test('of one record', async () => {
    assert.deepEqual(await rows(books('id, ...writer(by:name, born)').limit(2)), [
      { id: 1, by: 'Ada Lovelace', born: '1815-12-10' },
      { id: 2, by: 'Bertha Suttner', born: '1843-06-09' },
    ])
  })
  test('of one that is not there', async () => {
    assert.deepEqual(await rows(books('id, ...editor(edited_by:name)').in('id', [1, 2])), [
      { id: 1, edited_by: 'Bertha Suttner' },
      { id: 2, edited_by: null },
    ])
  })
  test('of many, in their order', async () => {
    const asked = books('id, ...reviews(stars, body)').lt('id', 5).order('stars', { referencedTable: 'reviews' })
    assert.deepEqual(await rows(asked), [
      { id: 1, stars: [3, 5], body: ['Fat cats, thin proofs', 'A cat sat on the engine'] },
      { id: 2, stars: [4], body: ['Peace, at last'] },
      { id: 3, stars: [4, 5], body: [null, 'Okonkwo!'] },
      { id: 4, stars: [], body: [] },
    ])
  })
  test('through a junction', async () => {
    const asked = shelves('id, ...books(titles:title)').order('id', { referencedTable: 'books', ascending: false })
    assert.deepEqual(await rows(asked), [
      { id: 1, titles: ['Things Fall Apart', 'Notes on the Engine'] },
      { id: 2, titles: [] },
    ])
  })
  test('of a spread', async () => {
    assert.deepEqual(await rows(anon.from('reviews').select('id, ...book(...writer(name))').eq('id', 4)), [
      { id: 4, name: 'Chinua Achebe' },
    ])
  })
  test('of a hidden field', async () => {
    await fails(books('id, ...writer(email)'), 400, '42703')
    await fails(books('id, ...reviews(count)'), 400, 'PGRST127')
  })
})

describe('related', () => {
  test('anti- and semi-joins, in logic too', async () => {
    assert.deepEqual(await rows(books('id, reviews()').is('reviews', null)), [{ id: 4 }, { id: 5 }])
    assert.deepEqual(await rows(books('id, reviews()').not('reviews', 'is', null)), [{ id: 1 }, { id: 2 }, { id: 3 }])
    assert.deepEqual(await rows(books('id, reviews()').or('reviews.is.null,id.eq.2')), [{ id: 2 }, { id: 4 }, { id: 5 }])
    assert.deepEqual(await rows(books('id, shelves()').or('shelves.not.is.null,year.gt.1960')), [{ id: 1 }, { id: 3 }, { id: 5 }])
    await fails(books('id, reviews()').eq('reviews', 1), 400, 'PGRST120')
  })
  test('order by a related record', async () => {
    const asked = anon.from('books').select('id, writer()').order('writer(born)').order('id', { ascending: false })
    assert.deepEqual((await rows(asked)).map((row) => row.id), [1, 2, 5, 4, 3])
    await fails(anon.from('books').select('id, reviews()').order('reviews(stars)'), 400, 'PGRST118')
  })
})

describe('what an answer says and how', () => {
  test('estimated and planned counts', async () => {
    for (const count of ['planned', 'estimated', 'exact']) {
      // Hidden books are hidden from the planner's figures: this is counted.
      const answer = await anon.from('books').select('id', { count }).limit(1)
      assert.deepEqual([answer.status, answer.count, answer.data.length], [206, 5, 1], count)
    }
    const planned = await anon.from('shelves').select('id', { count: 'planned', head: true })
    assert.ok(planned.error === null && Number.isInteger(planned.count) && planned.count >= 0, JSON.stringify(planned))
    assert.equal((await anon.from('shelves').select('id', { count: 'estimated' })).count, 2)
  })
  test('csv', async () => {
    assert.equal(
      await rows(books('id, title, in_print, tags, price').in('id', [1, 5]).csv()),
      'id,title,in_print,tags,price\n1,"Notes on the Engine",t,"{math,engines}",12.50\n5,"Arrow of God, 100% ""new""",t,{},',
    )
  })
  test('stripped nulls', async () => {
    assert.deepEqual(await rows(books('id, price, editor(name, born)').eq('id', 5).stripNulls()), [{ id: 5 }])
    assert.deepEqual(await rows(books('id, price').eq('id', 5).single().stripNulls()), { id: 5 })
  })
  test('one write too many', async () => {
    const write = editor.from('books').update({ price: 1 }).gt('id', 0).maxAffected(1)
    await fails(write, 400, 'PGRST124')
    assert.equal((await rows(editor.from('books').select('price').eq('id', 1).single())).price, 12.5)
  })
})

describe('what the client makes of an answer', () => {
  test('maybeSingle is null, one row, or an error of its own', async () => {
    assert.equal(await rows(books('id').eq('id', 77).maybeSingle()), null)
    assert.deepEqual(await rows(books('id').eq('id', 2).maybeSingle()), { id: 2 })
    await fails(books('id').maybeSingle(), 406, 'PGRST116')
  })
  test('single says how many rows there were', async () => {
    assert.equal((await fails(books('id').eq('id', 77).single(), 406, 'PGRST116')).details, 'The result contains 0 rows')
    assert.equal((await fails(books('id').single(), 406, 'PGRST116')).details, 'The result contains 5 rows')
  })
  test('range is offset and limit', async () => {
    const answer = await books('id').range(1, 2)
    assert.deepEqual([answer.status, answer.data, answer.count], [200, [{ id: 2 }, { id: 3 }], null])
  })
  test('a counted range is a part, and one beyond the end is refused', async () => {
    const part = await anon.from('books').select('id', { count: 'exact' }).order('id').range(3, 9)
    assert.deepEqual([part.status, part.statusText, part.count, part.data.length], [206, 'Partial Content', 5, 2])
    await fails(anon.from('books').select('id', { count: 'exact' }).range(50, 60), 416, 'PGRST103')
  })
  test('head answers a count and no rows', async () => {
    const answer = await anon.from('books').select('*', { count: 'exact', head: true })
    assert.deepEqual([answer.status, answer.count, answer.data, answer.error], [200, 5, null, null])
  })
  test('reason phrases are the canonical ones', async () => {
    const write = () => editor.from('books').update({ price: '12.50' }).eq('id', 1)
    for (const [call, status, statusText] of [
      [books('id'), 200, 'OK'],
      [write(), 204, 'No Content'],
      [write().select('id'), 200, 'OK'],
      [books('nonsense'), 400, 'Bad Request'],
      [anon.from('nonsense').select(), 404, 'Not Found'],
      [books('id, writers(name)'), 300, 'Multiple Choices'],
      [books('id').single(), 406, 'Not Acceptable'],
      [anon.from('books').delete().eq('id', 1), 401, 'Unauthorized'],
      [editor.from('books').delete().eq('id', 1), 403, 'Forbidden'],
    ]) {
      const answer = await call
      assert.deepEqual([answer.status, answer.statusText], [status, statusText], JSON.stringify(answer))
    }
  })
  test('an ambiguous embed lists the ways', async () => {
    const error = await fails(books('id, writers(name)'), 300, 'PGRST201')
    assert.deepEqual(error.details.map((way) => way.cardinality), ['many-to-one', 'many-to-one'])
    assert.match(error.hint, /writers!books_writer_fkey.*writers!books_editor_fkey/)
    assert.deepEqual(await rows(books('id, writers!books_writer_fkey(name)').eq('id', 1)), [{ id: 1, writers: { name: 'Ada Lovelace' } }])
  })
  test('rollback is not for callers here, and the write stays', async () => {
    const price = async () => (await rows(editor.from('books').select('price').eq('id', 1).single())).price
    assert.equal((await editor.from('books').update({ price: '1.25' }).eq('id', 1).rollback()).status, 204)
    assert.equal(await price(), 1.25)
    assert.equal((await editor.from('books').update({ price: '12.50' }).eq('id', 1)).status, 204)
    assert.equal(await price(), 12.5)
  })
  test('functions do not exist, by any method', async () => {
    for (const given of [{}, { get: true }]) {
      const error = await fails(anon.rpc('version', { a: 1 }, given), 404, 'PGRST202')
      assert.match(error.message, /Could not find the function public\.version/)
    }
    // The client takes a 404 without a body, which is all that HEAD can have, for a 204.
    assert.equal((await anon.rpc('version', {}, { head: true })).status, 204)
  })
  test('geojson is no type of ours', async () => {
    await fails(books('id').geojson(), 406, 'PGRST107')
  })
  test('csv of one embed and of nothing', async () => {
    assert.equal(await rows(books('id, writer(name)').eq('id', 1).csv()), 'id,writer\n1,"{""name"":""Ada Lovelace""}"')
    assert.equal((await rows(books('id, title').eq('id', 77).csv())).trim(), 'id,title')
  })
  test('throwOnError gives the rows where nothing is wrong', async () => {
    assert.deepEqual((await books('id').eq('id', 1).throwOnError()).data, [{ id: 1 }])
    await assert.rejects(async () => await books('id').single().throwOnError(), { code: 'PGRST116' })
  })
  test('ranges have no kind, whichever operator asks', async () => {
    for (const call of ['rangeGt', 'rangeGte', 'rangeLt', 'rangeLte', 'rangeAdjacent']) {
      await fails(books('id')[call]('year', '[1900,2000)'), 404, '42883')
    }
  })
  test('headers of one call', async () => {
    const call = () => books('id').eq('id', 1)
    assert.deepEqual(await rows(call().setHeader('Prefer', 'handling=lenient, nonsense')), [{ id: 1 }])
    await fails(call().setHeader('Prefer', 'handling=strict, nonsense'), 400, 'PGRST122')
  })
  test('logic on an embed', async () => {
    const asked = books('id, reviews(stars)').eq('id', 1).or('stars.eq.5,and(stars.lt.3,body.is.null)', { referencedTable: 'reviews' })
    assert.deepEqual(await rows(asked), [{ id: 1, reviews: [{ stars: 5 }] }])
  })
})
