import { randomFillSync } from 'node:crypto'
import { deflateSync } from 'node:zlib'

/** A PNG of this size with a gradient under noise, about three bytes a pixel, so that its upload takes a while. */
export function picture(width: number, height: number): Buffer {
  const row = 1 + 3 * width
  const pixels = randomFillSync(Buffer.alloc(row * height))
  for (let y = 0; y < height; y++) {
    pixels[y * row] = 0
    for (let x = 0; x < width; x++) {
      const at = y * row + 1 + 3 * x
      pixels[at] = (255 * x) / width
      pixels[at + 1] = (255 * y) / height
    }
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([8, 2], 8)
  const content = deflateSync(pixels, { level: 0 })
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', content), chunk('IEND', Buffer.alloc(0))])
}

function chunk(name: string, content: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name), content])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  sum.writeUInt32BE(checksum(named))
  return Buffer.concat([length, named, sum])
}

/** CRC-32, as PNG has it (RFC 2083, 15). */
function checksum(bytes: Buffer): number {
  let sum = 0xffffffff
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  }
  return ~sum >>> 0
}
