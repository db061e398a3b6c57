import { type Answer, type Core, backoff, pause } from './core.js'
import { type BasewrightError, bad } from './error.js'
import type { Schema } from './schema.js'
import { attempt, base64, given, utf8 } from './shape.js'
import type { UploadOptions } from './storage.js'

/** Times that an upload is tried again without coming any further: about a minute. */
const TRIES = 12

/** What an upload sends, and under which name. */
export interface Parcel {
  bucket: string
  key: string
  /** Its type is empty where the server shall see for itself. */
  body: Blob
  /** What tells this file from others after a page was loaded again. Without it, the upload ends with the page. */
  mark: unknown
  /** That of a signed upload, instead of the session. */
  signature: string | undefined
}

// An upload's own name. Whatever else a server or a store says of its place, it is looked for where we sent it.
const nameOf = (place: string | null | undefined): string | undefined => /[\w-]+$/.exec(place ?? '')?.[0]

/** Whether trying again may help: the connection broke, the server is busy, or somebody else was faster with a piece. */
const isPassing = ({ code, status }: BasewrightError): boolean =>
  /^(network|timeout)|Offset|(423|429|50[0-4])$/.test(code + status)

/** Uploads in pieces, and goes on after whatever breaks (tus 1.0.0). */
export async function resumable(core: Core<Schema>, parcel: Parcel, options: UploadOptions): Promise<void> {
  const { bucket, key, body, mark, signature } = parcel
  const { signal, onProgress, metadata, maxAge, upsert, discard = !mark } = options
  const { size: total, type } = body
  // So small that progress moves, and so large that requests do not matter.
  const size = Math.min(5 << 20, Math.max(256 << 10, Math.ceil(total / 20)))

  let id: string | undefined
  /** What the server has; unknown after a failure. */
  let offset: number | undefined
  let furthest = 0
  let failures = 0
  let began = 0
  let fault: BasewrightError | undefined

  // A signature is good for whoever has it.
  const who = async (): Promise<string | undefined> => signature ?? (await core.session.peek())?.user.id
  const user = await who()

  // A store that is full or forbidden costs the resuming after a reload and nothing else.
  const kept = (how: 'getItem' | 'setItem' | 'removeItem', value = ''): Promise<unknown> =>
    attempt(() => {
      const place = JSON.stringify([core.url, bucket, key, total, type, mark, upsert, maxAge, metadata, user])
      return mark && core.session.store[how](`basewright:upload:${place}`, value)
    })

  const ask = (method: string, headers = {}, piece?: Blob): Promise<Answer<unknown>> =>
    core.ask({
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
      // What has come of a piece until then stays.
      timeout: 120_000,
    })

  async function step(): Promise<void> {
    let answer: Answer<unknown>
    if (!id) {
      began++
      const said = given({
        bucketName: bucket,
        objectName: key,
        contentType: type,
        cacheControl: maxAge,
        metadata: JSON.stringify(metadata),
      })
      // No content comes with it: were its answer lost, the upload could not be found again.
      answer = await ask('POST', {
        'upload-length': total,
        'upload-metadata': Object.entries(said)
          .map(([name, value]) => `${name} ${base64(utf8(`${value}`))}`)
          .join(),
        'x-upsert': !!upsert,
      })
      id = nameOf(answer.headers.get('location'))
      await kept('setItem', id)
    } else if (offset === undefined) {
      answer = await ask('HEAD')
    } else {
      answer = await ask('PATCH', { 'upload-offset': offset }, body.slice(offset, offset + size))
    }
    const next = Number(answer.headers.get('upload-offset') ?? 0)
    // A piece that was taken and is not there would be sent for ever.
    if (!id || !Number.isInteger(next) || next < 0 || next > total || (next <= offset! && next < total)) {
      throw bad()
    }
    offset = next
    if (next > furthest) {
      furthest = next
      failures = 0
    }
    onProgress?.({ sent: next, total })
  }

  try {
    id = nameOf((await kept('getItem')) as string)
    while (offset !== total) {
      // What one has begun is never begun anew, nor gone on with, as another.
      if (fault && (await who()) !== user) throw fault
      try {
        await step()
      } catch (error) {
        fault = error as BasewrightError
        const { status, code } = fault
        if (/^(404|410|403bad_answer)/.test(status + code) && id && began < 2) {
          // It was swept away, or the token does not hold, of which HEAD cannot tell: once more from the beginning.
          id = offset = undefined
          furthest = 0
          continue
        }
        if (!isPassing(fault) || ++failures > TRIES) throw fault
        offset = undefined
        await pause(backoff(failures, fault), signal)
        while (globalThis.navigator?.onLine === false) await pause(1000, signal)
      }
    }
    await kept('removeItem')
  } catch (error) {
    if (signal?.aborted ? discard : !isPassing(error as BasewrightError)) {
      await kept('removeItem')
      // The piece that was on its way may still be written. What cannot be deleted is swept away one day.
      for (let wait = 100; signal?.aborted && id && wait < 1000; wait *= 2) {
        const fault = await ask('DELETE').catch((fault) => fault)
        if (fault.status !== 423) break
        await pause(wait)
      }
    }
    throw error
  }
}
