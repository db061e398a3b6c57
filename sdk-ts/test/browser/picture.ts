// A picture for tests: a PNG of noise, which no compression makes smaller.
import { randomBytes } from 'node:crypto'
import { deflateSync } from 'node:zlib'

function crc(bytes: Uint8Array): number {
  let sum = ~0
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return ~sum >>> 0
}

function chunk(type: string, data: Uint8Array): Buffer {
  const [length, sum, body] = [Buffer.alloc(4), Buffer.alloc(4), Buffer.concat([Buffer.from(type), data])]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc(body))
  return Buffer.concat([length, body, sum])
}

/** A PNG of `size` by `size` grey pixels, about `size` * `size` bytes. */
export function picture(size: number): Buffer {
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  head[8] = 8
  // Every line begins with the filter that its pixels went through: none.
  const lines = Array.from({ length: size }, () => Buffer.concat([Buffer.from([0]), randomBytes(size)]))
  const mark = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  const content = deflateSync(Buffer.concat(lines), { level: 0 })
  return Buffer.concat([mark, chunk('IHDR', head), chunk('IDAT', content), chunk('IEND', new Uint8Array())])
}
