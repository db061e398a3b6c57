// A headless Chromium for a test. `npm run test:browser` runs what is in this folder.
import { existsSync } from 'node:fs'
import { type AddressInfo } from 'node:net'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after } from 'node:test'
import { buildSync } from 'esbuild'
import { type Browser, chromium } from 'playwright-core'
import { REPOSITORY } from '../server.js'

/** Where a Chromium may be, in the order in which they are tried. */
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
]

// Of the file that imports this one. A hook that is registered in another hook ends with that one.
const opened: (() => unknown)[] = []
after(async () => {
  for (const close of opened.reverse()) await close()
})

/** The Chromium of `BASEWRIGHT_CHROMIUM`, or that of the machine. */
function executable(): string {
  const named = process.env['BASEWRIGHT_CHROMIUM']
  const found = named === undefined ? PLACES.find((place) => existsSync(place)) : named
  if (found === undefined) throw new Error(`no Chromium at ${PLACES.join(', ')}: name one in BASEWRIGHT_CHROMIUM`)
  return found
}

/** Launches a Chromium, which is closed after the last test of the file. */
export async function launch(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: executable(), args: FLAGS })
  opened.push(() => browser.close())
  return browser
}

/** The library as pages get it: one minified module. */
export function bundle(entry = 'index.ts'): string {
  const built = buildSync({
    entryPoints: [join(REPOSITORY, 'sdk-ts/src', entry)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
  })
  const [module] = built.outputFiles
  if (module === undefined) throw new Error('esbuild gave nothing')
  return module.text
}

/** Serves files by their paths to pages, at an origin of its own, until the last test of the file is over. */
export async function pages(files: Record<string, string>): Promise<string> {
  const types: Record<string, string> = { html: 'text/html', js: 'text/javascript', css: 'text/css', json: 'application/json' }
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://pages').pathname
    const name = path === '/' ? '/index.html' : path
    const text = Object.hasOwn(files, name) ? files[name] : undefined
    if (text === undefined) {
      response.writeHead(404).end()
      return
    }
    const type = types[name.slice(name.lastIndexOf('.') + 1)] ?? 'text/plain'
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' }).end(text)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  opened.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
