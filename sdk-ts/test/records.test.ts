import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { BasewrightError, type Core, connect, records } from '../src/index.js'
import { type Server, serve } from './server.js'
import { type Schema, type Thing, things } from './things.js'

let server: Server
let core: Core<Schema>
let sent: string[] = []
before(async () => {
  server = await serve(things)
  core = connect<Schema>(server.url, server.publishable, {
    fetch: (url, init) => {
      sent.push(`${init?.method} ${String(url).slice(server.url.length)}`)
      return fetch(url, init)
    },
  })
})
after(() => server.stop())

const code = (code: string) => (error: unknown) => {
  assert.ok(error instanceof BasewrightError, String(error))
  assert.equal(error.code, code, error.message)
  return true
}
const NOBODY = '00000000-0000-4000-8000-000000000000'

test('a record is created with its defaults, read, changed and removed by its key', async () => {
  const all = records(core, 'things')
  const made = (await all.create({ title: 'Figs', tags: ['a', 'b"c'], meta: { deep: [1, null] } }))!
  assert.deepEqual(
    [made.title, made.state, made.tags, made.meta],
    ['Figs', 'open', ['a', 'b"c'], { deep: [1, null] }],
  )
  assert.deepEqual(await all.get(made.id), made)
  assert.deepEqual(await all.get({ id: made.id }, { fields: ['title', 'state'] }), { title: 'Figs', state: 'open' })
  const changed = (await all.update(made.id, { count: 3 }, { fields: ['id', 'count'] }))!
  assert.deepEqual(changed, { id: made.id, count: 3 })
  assert.deepEqual(await all.remove(made.id, { fields: ['title'] }), { title: 'Figs' })
  await assert.rejects(all.get(made.id), code('PGRST116'))
})

test('a change of a record that is not there is refused, with an answer or without', async () => {
  const all = records(core, 'things')
  for (const returning of [true, false]) {
    await assert.rejects(all.update(NOBODY, { count: 1 }, { returning }), code('PGRST116'))
    await assert.rejects(all.remove(NOBODY, { returning }), code('PGRST116'))
  }
})

test('a change of nothing answers the record as it is', async () => {
  const all = records(core, 'things')
  const made = (await all.create({ title: 'same' }))!
  assert.deepEqual(await all.update(made.id, {}), made)
  assert.deepEqual(await all.update(made.id, {}, { fields: ['title'] }), { title: 'same' })
  assert.equal(await all.update(made.id, {}, { returning: false }), null)
  await assert.rejects(all.update(NOBODY, {}), code('PGRST116'))
  await all.remove(made.id)
})

test('a key of several fields is an object', async () => {
  const members = records(core, 'members')
  await members.create({ room: 'a,b', user: 'u"1', level: 1 })
  await members.create({ room: 'a,b', user: 'u2', level: 2 })
  assert.equal((await members.get({ room: 'a,b', user: 'u"1' })).level, 1)
  assert.equal((await members.update({ room: 'a,b', user: 'u2' }, { level: 5 }))?.level, 5)
  await members.remove({ room: 'a,b', user: 'u"1' })
  assert.equal(await members.count({ room: 'a,b' }), 1)
  await members.removeAll({}, { all: true })
})

test('what stands in a key is a value and never a condition', async () => {
  const all = records(core, 'things')
  const made = (await all.create({ title: 'key' }))!
  const other = all as unknown as { remove(key: unknown): Promise<unknown>; get(key: unknown): Promise<unknown> }
  await assert.rejects(other.remove({ id: { neq: NOBODY } }), code('22P02'))
  for (const key of [undefined, null, {}, { id: null }, { id: undefined }, []]) {
    await assert.rejects(other.remove(key), code('invalid_query'), JSON.stringify(key))
  }
  assert.equal((await all.get(made.id)).title, 'key')
  await all.remove(made.id)
})

test('many records are created in one request, though they name different fields', async () => {
  const all = records(core, 'things')
  sent = []
  const made = await all.create([{ title: 'one', state: 'shut' }, { count: 2 }, {}], {
    fields: ['title', 'count', 'state'],
  })
  assert.equal(sent.length, 1)
  assert.deepEqual(made, [
    { title: 'one', count: null, state: 'shut' },
    { title: null, count: 2, state: 'open' },
    { title: null, count: null, state: 'open' },
  ])
  assert.deepEqual(await all.create([]), [])
  await all.removeAll({}, { all: true, returning: false })
  assert.equal(await all.count(), 0)
})

test('faults name each field', async () => {
  const { data, error } = await records(core, 'members').create({ room: 'r', user: 'u', level: -1 }).safe()
  assert.equal(data, null)
  assert.ok(error)
  assert.deepEqual([error.code, error.status], ['validation_failed', 400])
  assert.deepEqual(
    error.of('level').map(({ code }) => code),
    ['min'],
  )
  assert.deepEqual(error.of('room'), [])
  const taken = records(core, 'things')
  await taken.create({ code: 'taken' })
  await assert.rejects(taken.create({ code: 'taken' }), (error: BasewrightError) => {
    assert.deepEqual([error.code, error.status, error.of('code').map(({ code }) => code)], ['23505', 409, ['unique']])
    return true
  })
  await taken.removeAll({ code: 'taken' })
})

test('an upsert changes what is there, and leaves it alone if told', async () => {
  const all = records(core, 'things')
  const first = (await all.upsert({ code: 'k', title: 'a' }, { on: 'code' }))!
  const second = (await all.upsert({ code: 'k', title: 'b' }, { on: 'code' }))!
  assert.deepEqual([second.id, second.title], [first.id, 'b'])
  assert.equal(await all.upsert({ code: 'k', title: 'c' }, { on: 'code', ignore: true }), null)
  const both = await all.upsert([{ code: 'k', title: 'd' }, { code: 'l' }], {
    on: ['code'],
    fields: ['code', 'title'],
  })
  assert.deepEqual(both.map(({ title }) => title).sort(), ['d', null].sort())
  assert.equal((await all.upsert({ id: first.id, title: 'by key' }))?.code, 'k')
  const members = records(core, 'members')
  await members.upsert({ room: 'r', user: 'u', level: 1 })
  await members.upsert({ room: 'r', user: 'u', level: 2 })
  assert.deepEqual(await members.list(), [{ room: 'r', user: 'u', level: 2 }])
  await all.removeAll({}, { all: true })
  await members.removeAll({ room: 'r' })
})

test('who may create and not read is answered null, in one request if he says so', async () => {
  const letters = records(core, 'letters')
  assert.equal(await letters.create({ text: 'dear' }), null)
  assert.deepEqual(await letters.create([{ text: 'dear' }, { text: 'sir' }]), [])
  sent = []
  assert.equal(await letters.create({ text: 'dear' }, { returning: false }), null)
  assert.equal(sent.length, 1)
  const written = records(connect<Schema>(server.url, server.secret), 'letters')
  assert.equal(await written.count(), 4)
  await assert.rejects(letters.list(), code('42501'))
  await assert.rejects(records(core, 'closed').create({ text: 'x' } as never), code('42501'))
})

test('a record that a write puts out of sight is written, and answered null', async () => {
  const quiet = records(core, 'quiet')
  const secret = records(connect<Schema>(server.url, server.secret), 'quiet')
  assert.equal(await quiet.create({ text: 'unseen' }), null)
  assert.deepEqual(
    (await quiet.create([{ text: 'a' }, { text: 'b', seen: true }])).map(({ text }) => text),
    ['b'],
  )
  assert.equal(await secret.count(), 3)
  const seen = await quiet.first({ where: { text: 'b' } })
  assert.equal(await quiet.update(seen?.id ?? '', { seen: false }), null)
  assert.equal(await quiet.count(), 0)
  assert.equal(await secret.count({ seen: false }), 3)
})

test('changes of many need a condition, or that all are meant', async () => {
  const all = records(core, 'things')
  await all.create([
    { title: 'a', count: 1 },
    { title: 'b', count: 1 },
    { title: 'c', count: 2 },
  ])
  await assert.rejects(all.removeAll({}), code('invalid_query'))
  await assert.rejects(all.removeAll({ and: [{}] }), code('invalid_query'))
  await assert.rejects(all.updateAll({ title: undefined } as never, { count: 0 }), code('invalid_query'))
  await assert.rejects(all.updateAll({ not: {} }, { count: 0 }), code('invalid_query'))
  const changed = await all.updateAll({ count: 1 }, { state: 'shut' }, { fields: ['title'] })
  assert.deepEqual(changed.map(({ title }) => title).sort(), ['a', 'b'])
  assert.deepEqual(await all.updateAll({ count: 99 }, { state: 'shut' }), [])
  assert.equal((await all.removeAll({ state: 'shut' })).length, 2)
  assert.equal((await all.removeAll({}, { all: true })).length, 1)
})

test('related records come with a record, both ways and nested', async () => {
  const thing = (await records(core, 'things').create({ title: 'whole' }))!
  const parts = records(core, 'parts')
  await parts.create([
    { thing: thing.id, name: 'b' },
    { thing: thing.id, name: 'a' },
    { thing: thing.id, name: 'c' },
    { name: 'lost' },
  ])
  const found = await records(core, 'things').list({
    fields: ['title'],
    with: { parts: { fields: ['name'], order: 'name', limit: 2, with: { thing: { fields: ['title'] } } } },
    where: { id: thing.id },
  })
  assert.deepEqual(found, [
    {
      title: 'whole',
      parts: [
        { name: 'a', thing: { title: 'whole' } },
        { name: 'b', thing: { title: 'whole' } },
      ],
    },
  ])
  const named = await parts.list({ fields: ['name'], with: { thing: { fields: ['title'] } }, order: '-name' })
  assert.deepEqual(named[0], { name: 'lost', thing: null })
  const inner = await parts.list({ with: { thing: { inner: true, where: { title: 'whole' } } } })
  assert.deepEqual(
    inner.map(({ thing }) => thing.title),
    ['whole', 'whole', 'whole'],
  )
  const made = (await parts.create(
    { name: 'd', thing: thing.id },
    { fields: ['name', 'thing'], with: { thing: true } },
  ))!
  assert.deepEqual([made.name, made.thing?.title], ['d', 'whole'])
  await parts.removeAll({}, { all: true })
  await records(core, 'things').remove(thing.id)
})

test('records can be those with related ones, or those without', async () => {
  const all = records(core, 'things')
  const [whole, empty] = await all.create([{ title: 'whole' }, { title: 'empty' }])
  await records(core, 'parts').create({ name: 'a', thing: whole?.id ?? '' })
  const asked = { fields: ['id'], with: { parts: { fields: [] } } } as const
  assert.deepEqual(
    (await all.list({ ...asked, where: { parts: null } })).map(({ id }) => id),
    [empty?.id],
  )
  assert.deepEqual(
    (await all.list({ ...asked, where: { parts: { not: null } } })).map(({ id }) => id),
    [whole?.id],
  )
  assert.deepEqual((await all.list({ ...asked, where: { or: [{ parts: null }, { title: 'whole' }] } })).length, 2)
  await all.removeAll({}, { all: true })
})

test('a full-text search is one of the conditions', async () => {
  const all = records(core, 'things')
  await all.create([{ title: 'soup with figs' }, { title: 'figs, dried' }, { title: 'soup (without onions)' }, {}])
  const titles = async (search: { wfts?: string; phfts?: string; fts?: string; not?: { wfts: string } }) =>
    (await all.list({ where: { search }, order: 'title' })).map(({ title }) => title)
  assert.deepEqual(await titles({ wfts: 'soup -onions' }), ['soup with figs'])
  assert.deepEqual(await titles({ wfts: '"figs dried"' }), ['figs, dried'])
  assert.deepEqual(await titles({ phfts: 'soup with' }), ['soup with figs'])
  assert.deepEqual(await titles({ fts: 'figs & (dried | with)' }), ['figs, dried', 'soup with figs'])
  // What has no words has not this one.
  assert.deepEqual(await titles({ not: { wfts: 'figs' } }), ['soup (without onions)', null])
  assert.equal(await all.count({ or: [{ search: { wfts: 'onions' } }, { search: { wfts: 'dried' } }] }), 2)
  await all.removeAll({}, { all: true })
})

test('a page says how many there are, also behind the last one', async () => {
  const all = records(core, 'things')
  await all.create(Array.from({ length: 5 }, (_, count) => ({ count })))
  const page = await all.page({ order: 'count', limit: 2, offset: 2, fields: ['count'] })
  assert.deepEqual(page, { records: [{ count: 2 }, { count: 3 }], total: 5 })
  assert.deepEqual(await all.page({ limit: 2, offset: 50 }), { records: [], total: 5 })
  assert.equal(await all.count({ count: { gte: 3 } }), 2)
  assert.equal((await all.first({ order: '-count' }))?.count, 4)
  assert.equal(await all.first({ where: { count: 77 } }), null)
  await all.removeAll({}, { all: true })
})

test('walks leave nothing out and repeat nothing, in every order, with nulls, ties and long numbers', async () => {
  const all = records(core, 'things')
  const price = (at: number): number => ('1000000000000000000.00000000000000000' + (at % 7)) as unknown as number
  await all.create(
    Array.from({ length: 230 }, (_, at) => ({
      title: at % 3 ? `t${at % 5}"),` : null,
      count: at % 4 ? at % 10 : null,
      // Numbers that JavaScript cannot tell apart.
      ...(at % 5 && { price: price(at) }),
      at: new Date(Date.UTC(2026, 0, 1, 0, at % 9)).toISOString(),
      state: at % 2 ? ('open' as const) : ('shut' as const),
    })),
  )
  const ids = (await all.list({ fields: ['id'], order: 'id' })).map(({ id }) => id)
  const rest = (await all.list({ fields: ['id'], order: 'id', offset: ids.length })).map(({ id }) => id)
  const every = [...ids, ...rest]
  assert.equal(every.length, 230)
  const orders = [
    undefined,
    'id',
    '-id',
    'title',
    '-title',
    ['count', '-title'],
    [
      { field: 'count', nulls: 'first' },
      { field: 'title', desc: true, nulls: 'last' },
    ],
    ['price'],
    ['-price', 'at'],
    [{ field: 'price', desc: true, nulls: 'last' }, '-id'],
    ['state', '-at', 'count'],
  ] as const
  for (const order of orders) {
    for (const limit of [7, 100, 1000]) {
      const walked: string[] = []
      for await (const page of all.pages({ fields: ['id', 'title'], limit, ...(order && { order }) })) {
        assert.ok(page.length <= limit)
        assert.deepEqual(Object.keys(page[0] ?? {}), ['id', 'title'])
        walked.push(...page.map(({ id }) => id))
      }
      assert.equal(walked.length, 230, JSON.stringify(order))
      assert.deepEqual([...walked].sort(), [...every].sort(), JSON.stringify(order))
      if (order === undefined || order === 'id') assert.deepEqual(walked, every)
      if (order !== undefined && limit === 7) {
        // The server's own limit of 200 is in the way of more at once.
        const straight = await all.list({ fields: ['id'], order: [order, 'id'].flat() as 'id'[], limit: 200 })
        assert.deepEqual(
          walked.slice(0, 200),
          straight.map(({ id }) => id),
          JSON.stringify(order),
        )
      }
    }
  }
  await all.removeAll({}, { all: true })
})

test('a walk is not confused by records that come and go meanwhile', async () => {
  const all = records(core, 'things')
  const before = await all.create(
    Array.from({ length: 60 }, (_, count) => ({ count })),
    { fields: ['id', 'count'] },
  )
  const walked: Thing[] = []
  let turn = 0
  for await (const thing of all.each({ order: '-count', limit: 10, where: { count: { gte: 0 } } })) {
    walked.push(thing)
    // At every fifth record one comes at the front, and one goes that has been seen.
    if (++turn % 5 === 0) {
      await all.create({ count: 1000 + turn })
      await all.remove(walked[turn - 5]?.id ?? '')
    }
  }
  assert.deepEqual(
    walked.map(({ count }) => count),
    before.map(({ count }) => count).reverse(),
  )
  await all.removeAll({}, { all: true })
})

test('a walk over a key of several fields says which they are', async () => {
  const members = records(core, 'members')
  await members.create(Array.from({ length: 25 }, (_, at) => ({ room: `r${at % 3}`, user: `u${at}`, level: at })))
  const walked: string[] = []
  for await (const { room, user } of members.each({ limit: 4 }, { key: ['room', 'user'] }))
    walked.push(`${room}/${user}`)
  assert.equal(new Set(walked).size, 25)
  assert.deepEqual(walked, [...walked].sort())
  await members.removeAll({}, { all: true })
})

test('a walk with a related record in the place of the field that orders it', async () => {
  const [one, two] = await records(core, 'things').create([{ title: 'one' }, { title: 'two' }])
  const parts = records(core, 'parts')
  await parts.create(
    Array.from({ length: 9 }, (_, at) => ({ name: `p${at}`, thing: (at % 2 ? one : two)?.id ?? '' })),
  )
  const names: (string | null | undefined)[] = []
  for await (const part of parts.each({ with: { thing: true }, order: 'thing', limit: 2 }))
    names.push(part.thing?.title)
  assert.deepEqual(names, ['one', 'one', 'one', 'one', 'two', 'two', 'two', 'two', 'two'])
  await parts.removeAll({}, { all: true })
  await records(core, 'things').removeAll({}, { all: true })
})

test('what is given up is told as such, before, meanwhile and between pages', async () => {
  const all = records(core, 'things')
  await assert.rejects(all.list({}, { signal: AbortSignal.abort() }), code('aborted'))
  const ending = new AbortController()
  const asked = all.list({}, { signal: ending.signal })
  ending.abort()
  await assert.rejects(asked, code('aborted'))
  await all.create([{}, {}, {}])
  const walk = new AbortController()
  await assert.rejects(async () => {
    for await (const _ of all.pages({ limit: 1 }, { signal: walk.signal })) walk.abort()
  }, code('aborted'))
  await all.removeAll({}, { all: true })
})

test('without generated types, everything may be asked', async () => {
  const free = records(connect(server.url, server.publishable), 'things')
  const made = (await free.create({ title: 'free' }))!
  const found = await free.list({ fields: ['title'], where: { title: 'free' }, with: { parts: true } })
  assert.deepEqual(found, [{ title: 'free', parts: [] }])
  await free.remove(made['id'])
  await assert.rejects(free.list({ where: { nothing: 1 } }), code('42703'))
})

test('what is wrong with a query is told as everything else is', async () => {
  const all = records(core, 'things')
  const loop: Record<string, unknown> = {}
  loop['loop'] = loop
  const { error } = await all.list({ where: { title: { in: 'x' } } } as never).safe()
  assert.equal(error?.code, 'invalid_query')
  await assert.rejects(all.create({ meta: loop } as never), code('invalid_request'))
  await assert.rejects(all.create({ count: 1n } as never), code('invalid_request'))
  await assert.rejects(all.list(null as never), code('invalid_request'))
  await assert.rejects(
    all
      .pages({ where: { count: { gtt: 1 } } } as never)
      [Symbol.asyncIterator]()
      .next(),
    code('invalid_query'),
  )
})
