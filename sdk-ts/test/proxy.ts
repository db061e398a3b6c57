// A line that breaks: a TCP proxy in front of a server, which counts what passes and cuts connections on demand.
import net from 'node:net'

export interface Line {
  url: string
  /** Bytes that went to the server. */
  sent(): number
  /** Connections that were cut. */
  cuts(): number
  /** Cuts the connection after so many more bytes to the server, once for each number, one after the other. */
  cutAfter(...bytes: number[]): void
  /** Ends every connection at once, as a dying network does. */
  cut(): void
  /** Nothing goes through any more, and nobody is told; until `flow`. */
  stall(): void
  flow(): void
  /** Takes no connection, and cuts those that are there. */
  down(): void
  up(): void
  close(): void
}

export async function line(to: string): Promise<Line> {
  const { hostname, port } = new URL(to)
  const sockets = new Set<net.Socket>()
  let [sent, cuts, isDown, isStalled] = [0, 0, false, false]
  let left: number | undefined
  let next: number[] = []
  const server = net.createServer((near) => {
    near.on('error', () => {})
    if (isDown) return void near.resetAndDestroy()
    const far = net.connect(Number(port), hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
    near.on('data', (bytes) => {
      sent += bytes.length
      if (left !== undefined && (left -= bytes.length) < 0) {
        left = next.shift()
        cuts++
        // What came so far arrives, as it would on a line that breaks.
        far.write(bytes, () => {
          near.resetAndDestroy()
          far.resetAndDestroy()
        })
        return
      }
      if (!far.write(bytes)) near.pause()
    })
    far.on('drain', () => isStalled || near.resume())
    near.on('end', () => far.end())
    far.on('data', (bytes) => {
      if (!near.write(bytes)) far.pause()
    })
    near.on('drain', () => isStalled || far.resume())
    far.on('end', () => near.end())
    if (isStalled) for (const socket of [near, far]) socket.pause()
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const destroy = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    sent: () => sent,
    cuts: () => cuts,
    cutAfter: (...bytes) => {
      left = bytes.shift()
      next = bytes
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    stall: () => {
      isStalled = true
      for (const socket of sockets) socket.pause()
    },
    flow: () => {
      isStalled = false
      for (const socket of sockets) socket.resume()
    },
    down: () => {
      isDown = true
      destroy()
    },
    up: () => {
      isDown = false
    },
    close: () => {
      server.close()
      destroy()
    },
  }
}
