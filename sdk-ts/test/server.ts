// The real server for a test: a project, a Postgres of its own, a port that is free.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The top of the repository, from `build/test/`. */
export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')
const BINARY = process.env['BASEWRIGHT_BIN'] ?? join(REPOSITORY, 'target/debug/basewright')

export interface Server {
  url: string
  publishable: string
  secret: string
  /** The folder of the project. */
  project: string
  /** Ends it as an operator does, and waits until it has ended. */
  stop(): Promise<void>
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>
  /** Starts it again, where it was and with what it had. */
  start(): Promise<void>
  /** Runs a command of the binary on this server's project. */
  command(name: string, ...args: string[]): string
  /** The newest letter to an address, once there is one. */
  letter(to: string): Promise<{ subject: string; text: string; html: string }>
  /** What it wrote to its log. */
  log(): string
}

/** Starts a server for a folder with a project, or for files given by their names. It ends with the test process at the latest. */
export async function serve(
  project: string | Record<string, string>,
  env: Record<string, string> = {},
): Promise<Server> {
  const home = mkdtempSync(join(tmpdir(), 'basewright-sdk-'))
  // The private Postgres runs as another user.
  chmodSync(home, 0o755)
  const folder = typeof project === 'string' ? resolve(REPOSITORY, project) : join(home, 'project')
  if (typeof project !== 'string') {
    for (const [name, text] of Object.entries(project)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
  }
  const data = join(home, 'data')
  let child: ChildProcess | undefined
  let log = ''
  let port = '0'

  const ended = async (signal: NodeJS.Signals): Promise<void> => {
    const running = child
    child = undefined
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
    running.kill(signal)
    await once(running, 'exit')
  }
  const server: Server = {
    url: '',
    publishable: '',
    secret: '',
    project: folder,
    stop: () => ended('SIGTERM'),
    kill: () => ended('SIGKILL'),
    start: async () => {
      const started = spawn(BINARY, ['dev', folder, '--data', data, '--port', port], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, BASEWRIGHT_ANONYMOUS_LIMIT: 'off', ...env },
      })
      child = started
      started.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
      let said = ''
      for await (const text of started.stdout.setEncoding('utf8')) {
        said += text as string
        const ready = /^ready (http:\S+)$/m.exec(said)
        if (ready?.[1] === undefined) continue
        server.url = ready[1]
        // The same place again, for clients that come back.
        port = new URL(server.url).port
        started.stdout.resume()
        return
      }
      throw new Error(`the server did not start:\n${log}`)
    },
    command: (name, ...args) => execFileSync(BINARY, [name, ...args, '--data', data], { encoding: 'utf8' }),
    letter: async (to) => {
      for (const end = Date.now() + 20_000; Date.now() < end;) {
        const response = await fetch(`${server.url}/_/mail.json?to=${encodeURIComponent(to)}`)
        const letters = (await response.json()) as { subject: string; text: string; html: string }[]
        if (letters[0] !== undefined) return letters[0]
      }
      throw new Error(`no letter came for ${to}`)
    },
    log: () => log,
  }
  process.on('exit', () => {
    child?.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  })
  await server.start()
  const keys = JSON.parse(server.command('keys', folder, '--json')) as { publishable: string; secret: string }
  return Object.assign(server, keys)
}

/** Asks until the answer is not undefined; fails after 30 seconds. */
export async function eventually<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 30_000; Date.now() < end;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    await new Promise((turn) => setTimeout(turn, 10))
  }
  throw new Error(`waited too long: ${what}`)
}
