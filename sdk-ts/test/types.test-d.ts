// What does not compile, and what exactly does. `tsc -p test` is the test: every `@ts-expect-error` has to be one.
import type { BasewrightError, Call, Client, ErrorCode } from '../src/index.js'
import type { Json } from '../src/schema.js'
import type { Schema as Member } from './schema.member.js'
import type { Schema, ErrorCode as PrintedCode, PostsStatus, SamplesOdd } from './schema.js'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Says that two types are the same. */
const same = <A, B>(_same: Equal<A, B>): void => {}
type Awaits<T> = T extends Call<infer A> ? A : never

declare const app: Client<Schema>
declare const member: Client<Member>
declare const open: Client

const posts = () => app.records('posts')
const comments = () => app.records('comments')
const samples = () => app.records('samples')
type Post = Schema['collections']['posts']['Row']
type Profile = Schema['collections']['profiles']['Row']

export const reads = () => {
  // What is read is inferred from the query.
  const whole = posts().list()
  same<Awaits<typeof whole>, Post[]>(true)
  const some = posts().list({ fields: ['id', 'title', 'status'] })
  same<Awaits<typeof some>, { id: string; title: string; status: PostsStatus }[]>(true)
  const one = posts().get('1', { fields: ['notes'] })
  same<Awaits<typeof one>, { notes: string | null }>(true)
  const first = posts().first({ fields: ['tags'] })
  same<Awaits<typeof first>, { tags: (string | null)[] } | null>(true)

  // Relations: one or none, one for sure, many; nested, and through pairs.
  const author = posts().list({ fields: ['id'], with: { author: true } })
  same<Awaits<typeof author>, { id: string; author: Profile | null }[]>(true)
  const sure = posts().list({ fields: ['id'], with: { author: { fields: ['name'], inner: true } } })
  same<Awaits<typeof sure>, { id: string; author: { name: string } }[]>(true)
  const many = posts().list({
    fields: ['id'],
    with: { comments: { fields: ['body'], with: { replies: { fields: ['body'] } }, limit: 5, order: '-created_at' } },
  })
  same<Awaits<typeof many>, { id: string; comments: { body: string; replies: { body: string }[] }[] }[]>(true)
  const through = posts().list({ fields: ['id'], with: { labels: { fields: ['name'] } } })
  same<Awaits<typeof through>, { id: string; labels: { name: string }[] }[]>(true)
  const only = app.records('profiles').list({ fields: ['id'], with: { passports: { fields: ['number'] } } })
  same<Awaits<typeof only>, { id: string; passports: { number: string } | null }[]>(true)

  // What fits.
  posts().list({
    where: {
      status: 'draft',
      notes: null,
      views: { gt: 10, lte: 20 },
      title: { ilike: '%x%', not: { eq: 'x' } },
      tags: { contains: ['a'] },
      id: { in: ['1', '2'] },
      search: { wfts: 'soup' },
      created_at: { gt: new Date() },
      or: [{ title: 'a' }, { not: { title: 'b' } }],
      'meta->>kind': 'x',
    },
    order: ['-created_at', { field: 'title', nulls: 'last' }],
    limit: 1,
    offset: 2,
  })
  samples().list({ where: { truth: true, odd: '*/ end', many_odd: { overlaps: ['a'] }, exact: 1.5, data: { eq: { a: 1 } } } })

  // A field that is not there.
  // @ts-expect-error
  posts().list({ fields: ['titel'] })
  // @ts-expect-error
  posts().list({ where: { titel: 'x' } })
  // @ts-expect-error
  posts().list({ where: { or: [{ titel: 'x' }] } })
  // @ts-expect-error
  posts().list({ where: { not: { titel: 'x' } } })
  // @ts-expect-error
  posts().list({ order: '-titel' })
  // @ts-expect-error
  posts().list({ with: { comments: { fields: ['boddy'] } } })
  // @ts-expect-error
  posts().list({ with: { comments: { where: { boddy: 'x' } } } })
  // @ts-expect-error
  posts().list({ limits: 3 })
  // @ts-expect-error
  posts().list({ fields: ['id'] }).then((rows) => rows[0]?.title)

  // A value of another type.
  // @ts-expect-error
  posts().list({ where: { views: 'many' } })
  // @ts-expect-error
  posts().list({ where: { status: 'drafty' } })
  // @ts-expect-error
  posts().list({ where: { status: { in: ['draft', 'drafty'] } } })
  // @ts-expect-error
  samples().list({ where: { truth: 'yes' } })
  // @ts-expect-error
  samples().list({ where: { odd: 'odd' } })
  // @ts-expect-error
  posts().list({ where: { tags: { contains: [1] } } })
  // @ts-expect-error
  posts().list({ limit: '3' })

  // An operator that the kind does not have.
  // @ts-expect-error
  posts().list({ where: { views: { ilike: '%1%' } } })
  // @ts-expect-error
  samples().list({ where: { truth: { like: 't%' } } })
  // @ts-expect-error
  posts().list({ where: { title: { contains: ['a'] } } })
  // @ts-expect-error
  posts().list({ where: { tags: { ilike: 'a' } } })
  // @ts-expect-error
  posts().list({ where: { title: { equals: 'a' } } })

  // A search where there is none.
  // @ts-expect-error
  comments().list({ where: { search: { wfts: 'x' } } })

  // A relation that is not there, or leads elsewhere.
  // @ts-expect-error
  posts().list({ with: { replies: true } })
  // @ts-expect-error
  posts().list({ with: { comments: { with: { labels: true } } } })
  // @ts-expect-error
  posts().list({ with: { author: { fields: ['title'] } } })
  // @ts-expect-error
  app.records('ledger').list({ with: { posts: true } })

  // A collection that is not there.
  // @ts-expect-error
  app.records('post')
}

export const writes = () => {
  const made = posts().create({ title: 'One', meta: { a: [1, null] } }, { fields: ['id'] })
  same<Awaits<typeof made>, { id: string } | null>(true)
  // One may be written and not read; of several, those are there that may be, and what is removed was there to be read.
  const changed = posts().update('1', { notes: null }, { fields: ['id'] })
  same<Awaits<typeof changed>, { id: string } | null>(true)
  const put = app.records('labels').upsert({ name: 'fruit' }, { fields: ['name'] })
  same<Awaits<typeof put>, { name: string } | null>(true)
  const all = posts().create([{ title: 'One' }], { fields: ['id'] })
  same<Awaits<typeof all>, { id: string }[]>(true)
  const gone = posts().remove('1', { fields: ['id'] })
  same<Awaits<typeof gone>, { id: string }>(true)
  const silent = posts().create({ title: 'One' }, { returning: false })
  same<Awaits<typeof silent>, null>(true)
  posts().create([{ title: 'One' }, { title: 'Two', status: 'review' }])
  samples().create({ id: 1, must: 'no_thanks', many_small: [1, null] })
  // The key of a pair is both, and of a label its name.
  app.records('post_labels').get({ post: '1', label: 'news' })
  app.records('labels').get({ name: 'news' })
  // @ts-expect-error
  app.records('post_labels').get('1')
  // @ts-expect-error
  app.records('post_labels').get({ post: '1' })
  // @ts-expect-error
  samples().get('1')

  // Without what is required.
  // @ts-expect-error
  posts().create({ body: 'x' })
  // @ts-expect-error
  posts().create([{ title: 'One' }, {}])
  // @ts-expect-error
  samples().create({ id: 1 })
  // @ts-expect-error
  comments().create({ body: 'x' })

  // With what is not there, or of another type.
  // @ts-expect-error
  posts().create({ title: 'One', titel: 'x' })
  // @ts-expect-error
  posts().create({ title: 1 })
  // @ts-expect-error
  posts().create({ title: null })
  // @ts-expect-error
  posts().create({ title: 'One', status: 'drafty' })
  // @ts-expect-error
  posts().update('1', { titel: 'x' })
  // @ts-expect-error
  posts().update('1', { views: '1' })
  // @ts-expect-error
  posts().update('1', { title: null })
  // @ts-expect-error
  samples().create({ id: 1, must: 'maybe' })
}

export const roles = () => {
  // What a member may do.
  member.records('posts').create({ title: 'One' })
  member.records('posts').update('1', { status: 'review' })
  member.records('comments').update('1', { body: 'x' })
  member.records('feedback').create({ words: 'x' }, { returning: false })
  const seen = member.records('posts').list({ with: { labels: true } })
  same<
    Awaits<typeof seen>[number]['labels'],
    Member['collections']['labels']['Row'][]
  >(true)

  // Fields that he may not write.
  // @ts-expect-error
  member.records('posts').create({ title: 'One', status: 'published' })
  // @ts-expect-error
  member.records('posts').create({ title: 'One', author: '1' })
  // @ts-expect-error
  member.records('posts').update('1', { author: '1' })
  // @ts-expect-error
  member.records('comments').update('1', { post: '1' })
  // @ts-expect-error
  member.records('profiles').create({ handle: 'ada', name: 'Ada', id: '1' })

  // Fields and collections that he does not know of.
  // @ts-expect-error
  member.records('posts').list({ fields: ['notes'] })
  // @ts-expect-error
  member.records('posts').list({ where: { notes: null } })
  // @ts-expect-error
  member.records('ledger')

  // What he may not make, change or read.
  // @ts-expect-error
  member.records('labels').create({ name: 'x' })
  // @ts-expect-error
  member.records('post_labels').updateAll({ post: '1' }, { label: 'x' })
  // @ts-expect-error
  member.records('passports').update('1', { number: '2' })
  // @ts-expect-error
  member.records('feedback').list({ fields: ['words'] })

  // Buckets and channels of others.
  member.storage.from('exports')
  member.channel('room:1')
  // @ts-expect-error
  member.storage.from('vault')
  // @ts-expect-error
  member.channel('desk:1:log')
}

export const buckets = () => {
  app.storage.from('vault')
  // @ts-expect-error
  app.storage.from('avatar')
}

export const channels = () => {
  app.channel('lobby')
  app.channel(`room:${1}`)
  app.channel('desk:7:log')
  // @ts-expect-error
  app.channel('rooms:1')
  // @ts-expect-error
  app.channel('desk:7')
}

export const lives = async () => {
  const newest = app.live('posts', { where: { status: 'draft' }, order: '-created_at', limit: 5, with: { author: true } })
  for await (const list of newest) {
    same<(typeof list)[number]['title'], string>(true)
    same<(typeof list)[number]['author'], Profile | null>(true)
  }
  // @ts-expect-error
  app.live('post')
  // @ts-expect-error
  app.live('posts', { where: { titel: 'x' } })
  // @ts-expect-error
  app.live('posts', { where: { status: 'drafty' } })
  // What follows relations cannot be judged on a change.
  // @ts-expect-error
  app.live('posts', { where: { or: [{ title: 'x' }] } })
  // @ts-expect-error
  member.live('posts', { order: '-notes' })
}

export const untyped = () => {
  // Of a project of which nothing is known, everything may be.
  open.records('whatever').list({ where: { a: 1, b: { gt: 'x' } }, order: '-c', with: { d: true } })
  open.records('whatever').create({ a: 1 })
  open.records('whatever').get('1')
  open.storage.from('anywhere')
  open.channel('anything')
}

export const errors = (error: BasewrightError) => {
  // The codes that are known are offered, and any other may come.
  const known: ErrorCode = '23505'
  same<ErrorCode, PrintedCode>(true)
  if (error.code === known || error.code === 'network' || error.code === 'P0001') return
  // @ts-expect-error
  const other: ErrorCode = 'P0001'
  return other
}

export const kinds = () => {
  type Sample = Schema['collections']['samples']['Row']
  same<Sample['odd'], SamplesOdd | null>(true)
  same<SamplesOdd, 'plain' | "it's" | 'say "hi"' | '`${tick}`' | '*/ end' | 'two\nlines' | 'back\\slash' | 'ünï'>(true)
  same<Sample['data'], Json>(true)
  same<Schema['collections']['post_labels']['Key'], 'post' | 'label'>(true)
  same<Member['collections']['feedback']['Row'], Record<never, never>>(true)
  same<Member['collections']['labels']['New'], never>(true)
}
