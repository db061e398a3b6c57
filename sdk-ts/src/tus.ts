import { type Core, pause } from './core.js'
import { BasewrightError } from './error.js'
import type { Schema } from './schema.js'
import type { Store } from './session.js'
import type { UploadOptions } from './storage.js'

/** Times that an upload is tried again without coming any further: about a minute. */
const TRIES = 10
/** Bytes of one request. */
const [LEAST, MOST, OF_A_STREAM] = [256 << 10, 5 << 20, 1 << 20]

/** What an upload sends, and under which name. */
export interface Parcel {
  bucket: string
  key: string
  body: Blob | ReadableStream<Uint8Array>
  /** Empty where the server shall see for itself. */
  type: string
  /** What tells this file from others after a page was loaded again. Without it, the upload ends with the page. */
  mark: unknown
  /** That of a signed upload, instead of the session. */
  signature: string | undefined
}

/** What is there of an object: no header and no option is sent that was not given. */
export function given<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const there = Object.entries(members).filter(([, value]) => value !== undefined)
  return Object.fromEntries(there) as { [K in keyof T]: Exclude<T[K], undefined> }
}

/** Text as base64, by way of UTF-8. */
export function base64(text: string): string {
  let bytes = ''
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte)
  return btoa(bytes)
}

/** Milliseconds for a request with so many bytes, on a line of 128 kbit/s. */
export function patience(core: Core<Schema>, bytes: number): number {
  const usual = core.options.timeout ?? 30_000
  return usual && usual + bytes / 16
}

// An upload's own name. Whatever else a server or a store says of its place, it is looked for where we sent it.
const nameOf = (place: string | null | undefined): string | undefined => /[\w-]+$/.exec(place ?? '')?.[0]

/** Whether trying again may help: the connection broke, the server is busy, or somebody else was faster with a piece. */
const isPassing = ({ code, status }: BasewrightError): boolean =>
  code === 'network' ||
  code === 'timeout' ||
  code === 'InvalidUploadOffset' ||
  status === 423 ||
  status === 429 ||
  (status >= 500 && status !== 507)

/** Uploads in pieces, and goes on after whatever breaks (tus 1.0.0). */
export async function resumable(core: Core<Schema>, parcel: Parcel, options: UploadOptions): Promise<void> {
  const { bucket, key, body, type, mark, signature } = parcel
  const { signal, onProgress, metadata, maxAge, upsert } = options
  const reader = body instanceof Blob ? undefined : body.getReader()
  // Of a stream, what the server does not have yet is held: `held` begins at `start`.
  let held = body instanceof Blob ? body : new Blob()
  let start = 0
  let total = reader ? undefined : held.size
  const size = total === undefined ? OF_A_STREAM : Math.min(MOST, Math.max(LEAST, Math.ceil(total / 20)))

  let id: string | undefined
  /** What the server has; unknown after a failure. */
  let offset: number | undefined
  let furthest = 0
  let failures = 0
  let began = 0

  const place = `basewright:upload:${JSON.stringify([core.url, bucket, key, total, type, mark, upsert, maxAge, metadata])}`
  // A store that is full or forbidden costs the resuming after a reload and nothing else.
  const kept = async <T>(use: (store: Store) => T | Promise<T>): Promise<T | undefined> => {
    try {
      const store = mark === undefined ? undefined : (core.options.store ?? globalThis.localStorage)
      return store && (await use(store))
    } catch {
      return undefined
    }
  }

  const ask = (method: string, headers: object = {}, piece?: Blob): Promise<Response> =>
    core.send({
      method,
      path: `/storage/v1/upload/resumable${signature ? '/sign' : ''}${id ? `/${id}` : ''}`,
      headers: given({
        'tus-resumable': '1.0.0',
        'content-type': 'application/offset+octet-stream',
        'x-signature': signature,
        ...headers,
      }),
      body: piece,
      token: signature && null,
      // What was stopped may still be deleted.
      signal: method === 'DELETE' ? undefined : signal,
      timeout: patience(core, piece?.size ?? 0),
    })

  async function pieceAt(at: number): Promise<Blob> {
    if (reader) {
      held = held.slice(at - start)
      start = at
      while (total === undefined && held.size < size) {
        const { done, value } = await reader.read().catch((cause: unknown) => {
          throw new BasewrightError('unreadable', 'The body cannot be read', { cause })
        })
        if (done) total = start + held.size
        else held = new Blob([held, value as Uint8Array<ArrayBuffer>])
      }
    }
    return held.slice(at - start, at - start + size)
  }

  async function step(): Promise<void> {
    let response: Response
    if (id === undefined) {
      began++
      const said = given({
        bucketName: bucket,
        objectName: key,
        contentType: type || undefined,
        cacheControl: maxAge,
        metadata: metadata && JSON.stringify(metadata),
      })
      const whole = total !== undefined && total <= size
      response = await ask(
        'POST',
        {
          'upload-length': total,
          'upload-defer-length': total === undefined ? 1 : undefined,
          'upload-metadata': Object.entries(said).map(([name, value]) => `${name} ${base64(`${value}`)}`).join(),
          'x-upsert': !!upsert,
        },
        whole ? held : undefined,
      )
      id = nameOf(response.headers.get('location'))
      if (!whole) await kept((store) => store.setItem(place, id ?? ''))
    } else if (offset === undefined) {
      response = await ask('HEAD')
    } else {
      const piece = await pieceAt(offset)
      const last = offset + piece.size === total
      response = await ask('PATCH', { 'upload-offset': offset, 'upload-length': reader && last ? total : undefined }, piece)
    }
    const next = Number(response.headers.get('upload-offset') ?? 0)
    const sound = Number.isSafeInteger(next) && next >= start && next <= (total ?? start + held.size)
    // A piece that was taken and is not there would be sent for ever.
    const further = offset === undefined || next > offset || next === total
    if (id === undefined || !sound || !further) {
      throw new BasewrightError('bad_answer', 'The server does not say how far the upload is', { status: response.status })
    }
    offset = next
    if (next > furthest) {
      furthest = next
      failures = 0
    }
    onProgress?.({ sent: next, total: total ?? null })
  }

  try {
    id = nameOf(await kept((store) => store.getItem(place)))
    while (offset === undefined || offset !== total) {
      try {
        await step()
      } catch (error) {
        if (!(error instanceof BasewrightError)) throw error
        if ((error.status === 404 || error.status === 410) && id !== undefined && began < 2 && start === 0) {
          // It was swept away, or was somebody else's who signed out: once more from the beginning.
          id = offset = undefined
          furthest = 0
          continue
        }
        if (!isPassing(error) || ++failures > TRIES) throw error
        offset = undefined
        const backoff = Math.min(10_000, 2 ** failures * 100) * (0.5 + Math.random())
        await pause(Math.max(backoff, (error.retryAfter ?? 0) * 1000), signal)
        while (globalThis.navigator?.onLine === false) await pause(1000, signal)
      }
    }
    await kept((store) => store.removeItem(place))
  } catch (error) {
    const aborted = error instanceof BasewrightError && error.code === 'aborted'
    const over = aborted ? (options.discard ?? mark === undefined) : !(error instanceof BasewrightError && isPassing(error))
    if (over) {
      await kept((store) => store.removeItem(place))
      // The piece that was on its way may still be written. What cannot be deleted is swept away one day.
      for (let tried = 0; aborted && id !== undefined && tried < 4; tried++) {
        const gone = await ask('DELETE').catch((fault: unknown) => fault)
        if (!(gone instanceof BasewrightError && gone.status === 423)) break
        await pause(2 ** tried * 100)
      }
    }
    throw error
  } finally {
    reader?.cancel().catch(() => {})
  }
}
