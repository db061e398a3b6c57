// A wire that can be cut: a TCP proxy before the server.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Proxy {
  /** The server's address through it. */
  url: string
  /** Ends every connection at once, as a dying network does. */
  cut(): void
  /** Nothing goes through any more, and nobody is told; until `flow`. */
  stall(): void
  flow(): void
  /** Refuses whoever comes, until it is called with false. */
  refuse(whether: boolean): void
  close(): Promise<void>
}

export async function proxy(target: () => string): Promise<Proxy> {
  const open = new Set<Socket>()
  let stalled = false
  let refused = false
  const server = createServer((near) => {
    if (refused) return void near.destroy()
    const far = connect(Number(new URL(target()).port), '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from)
      if (stalled) from.pause()
      from.on('data', (data) => to.write(data))
      from.on('end', () => to.end())
      from.on('error', () => to.destroy())
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const all = (act: (socket: Socket) => void): void => {
    for (const socket of open) act(socket)
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => all((socket) => socket.resetAndDestroy()),
    stall: () => {
      stalled = true
      all((socket) => socket.pause())
    },
    flow: () => {
      stalled = false
      all((socket) => socket.resume())
    },
    refuse: (whether) => {
      refused = whether
      if (whether) all((socket) => socket.resetAndDestroy())
    },
    close: async () => {
      all((socket) => socket.destroy())
      server.close()
      await once(server, 'close')
    },
  }
}
