// Two tables: what each client weighs, and the same five tasks in lines of code and requests.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const HERE = dirname(fileURLToPath(import.meta.url))
const SDK = join(HERE, '../../sdk-ts')
const { build } = await import(join(SDK, 'node_modules/esbuild/lib/main.js'))
const { minify } = await import(join(SDK, 'node_modules/terser/main.js'))
const { serve, eventually } = await import(join(SDK, 'build/test/server.js'))

/** Bundled and minified as ours is for pages, the others too. */
async function size(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: HERE },
    bundle: true,
    minifySyntax: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    write: false,
  })
  const compress = { passes: 3, hoist_funs: true, inline: 1, unsafe_arrows: true }
  const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2022, compress })
  return [Buffer.byteLength(code), gzipSync(code, { level: 9 }).length]
}

const version = (name) => JSON.parse(readFileSync(join(HERE, 'node_modules', name, 'package.json'), 'utf8')).version
const bundles = [
  ['ours: connect, records', `export { connect, records } from '${SDK}/dist/index.js'`],
  ['ours: and auth', `export { connect, records, auth } from '${SDK}/dist/index.js'`],
  ['ours: everything', `export * from '${SDK}/dist/index.js'`],
  [`supabase-js ${version('@supabase/supabase-js')}`, `export * from '@supabase/supabase-js'`],
  [`tus-js-client ${version('tus-js-client')}, which it needs for progress`, `export * from 'tus-js-client'`],
  [`pocketbase ${version('pocketbase')}`, `export { default } from 'pocketbase'`],
]
const number = (value) => value.toLocaleString('en')
console.log('| client | minified | gzip -9 |\n|---|--:|--:|')
for (const [name, contents] of bundles) {
  const [plain, packed] = await size(contents)
  console.log(`| ${name} | ${number(plain)} | ${number(packed)} |`)
}

/** Lines of a function that say something. */
function lines(client, task) {
  const text = readFileSync(join(HERE, 'tasks', `${client}.js`), 'utf8')
  const body = new RegExp(`^export (async )?function ${task}\\(.*?^}`, 'ms').exec(text)?.[0]
  if (body === undefined) throw new Error(`${client} has no ${task}`)
  return body.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('//')).length
}

let requests = 0
let sockets = 0
const plain = { fetch, WebSocket }
globalThis.fetch = (...given) => {
  requests++
  return plain.fetch(...given)
}
globalThis.WebSocket = class extends plain.WebSocket {
  constructor(...given) {
    super(...given)
    sockets++
  }
}
// What goes around `fetch`, as a client for Node does.
const http = await import('node:http')
const { syncBuiltinESMExports } = await import('node:module')
const request = http.default.request
http.default.request = (...given) => {
  requests++
  return request(...given)
}
syncBuiltinESMExports()

const server = await serve('examples/blog')
const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')
const bytes = Buffer.concat([PNG, Buffer.alloc(500_000)])
const picture = {
  basewright: new File([bytes], 'ada.png', { type: 'image/png' }),
  // In Node.js its uploads take no File.
  supabase: Object.assign(bytes, { type: 'image/png' }),
}
const TASKS = {
  signInAndList: 'sign in, list with the author of each',
  createComment: 'create, show the faults of each field',
  followComments: 'a list that follows',
  uploadPicture: 'upload with progress',
  everyPost: 'walk through everything',
}
const counted = {}
for (const client of ['basewright', 'supabase']) {
  const tasks = await import(`./tasks/${client}.js`)
  const app = tasks.connect(server.url, server.publishable)
  const count = async (task, work) => {
    requests = 0
    sockets = 0
    await work()
    counted[`${client} ${task}`] = `${requests}${sockets > 0 ? ` + ${sockets} socket` : ''}`
  }
  let post
  await count('signInAndList', async () => {
    const posts = await tasks.signInAndList(app)
    if (posts.length !== 10 || !posts[0].author.name) throw new Error(`${client}: not the list`)
    post = posts[0].id
  })
  await count('createComment', async () => {
    const faults = []
    await tasks.createComment(app, post, '', (field, message) => faults.push(`${field} ${message}`))
    if (faults.length !== 1 || !faults[0].startsWith('body ')) throw new Error(`${client}: ${JSON.stringify(faults)}`)
  })
  await count('followComments', async () => {
    let shown
    const stop = tasks.followComments(app, post, (comments) => (shown = comments))
    await eventually('the list', () => shown)
    const before = requests
    const made = await tasks.createComment(app, post, `said by ${client}`, () => {})
    requests = before
    await eventually('the comment', () => shown.find(({ id }) => id === made.id))
    await stop()
  })
  await count('uploadPicture', async () => {
    const { data } = client === 'supabase' ? await app.auth.getUser() : { data: { user: await app.auth.user() } }
    requests = 0
    const seen = []
    await tasks.uploadPicture(app, `${data.user.id}/${client}.png`, picture[client], (share) => seen.push(share))
    if (seen.at(-1) !== 1) throw new Error(`${client}: no progress: ${seen}`)
  })
  await count('everyPost', async () => {
    const seen = new Set()
    await tasks.everyPost(app, ({ id }) => seen.add(id))
    if (seen.size < 700) throw new Error(`${client}: ${seen.size} posts`)
  })
}
console.log('\nLines of code, and requests against the same server (pocketbase is not run):\n')
console.log('| task | ours | | supabase-js | | pocketbase |\n|---|--:|--:|--:|--:|--:|')
const sums = [0, 0, 0]
for (const [task, what] of Object.entries(TASKS)) {
  const of = ['basewright', 'supabase', 'pocketbase'].map((client) => lines(client, task))
  of.forEach((value, at) => (sums[at] += value))
  console.log(`| ${what} | ${of[0]} | ${counted[`basewright ${task}`]} | ${of[1]} | ${counted[`supabase ${task}`]} | ${of[2]} |`)
}
console.log(`| together | ${sums[0]} | | ${sums[1]} | | ${sums[2]} |`)
await server.stop()
process.exit()
