import { type Call, type Flows, call, calls } from './call.js'
import { type Core, unreachable } from './core.js'
import type { AnySchema, Json, Schema } from './schema.js'
import { base64, given, utf8 } from './shape.js'
import { resumable } from './tus.js'

/**
 * What can be stored. A stream is read to its end first. Of what is too large for memory, give a `Blob` that is not in
 * memory: a `File` of a page, `await fs.openAsBlob(path)` in Node.
 */
export type Content = Blob | ArrayBuffer | ArrayBufferView | string | ReadableStream<Uint8Array>

export interface UploadOptions {
  /** The media type: that of a `File` or `Blob` unless given, or else what the server finds in the content. */
  type?: string
  /** Replaces what has the key already. Without it, that is refused with `KeyAlreadyExists`. */
  upsert?: boolean
  /** Kept beside the content. */
  metadata?: { [name: string]: Json }
  /** Seconds for which a browser may show it again without asking. */
  maxAge?: number
  /** Told at every step how many bytes the server has. */
  onProgress?: (progress: { sent: number; total: number }) => void
  /** Stops the upload. */
  signal?: AbortSignal | undefined
  /**
   * In pieces, going on by itself after whatever breaks; a `File` even after its page was loaded again, once it is
   * uploaded anew to the same key. So is what has more than 6 MiB or `onProgress`, unless this is false.
   */
  resumable?: boolean
  /** Whether stopping deletes what was sent. False for a `File`, which may be gone on with for a day; else true. */
  discard?: boolean
}

export interface DownloadOptions {
  /** The first byte and the last one, from 0; without the last one, all from there on. */
  range?: [first: number, last?: number]
  signal?: AbortSignal | undefined
}

/** What is known of a file. */
export interface FileInfo {
  key: string
  id: string
  /** In bytes. */
  size: number
  /** The media type. */
  type: string
  etag: string
  created_at: string
  updated_at: string
}

/** What is known of one file, with what was said when it was stored. */
export interface StoredFile extends FileInfo {
  bucket_id: string
  /** Of its content: another one whenever that is replaced. */
  version: string
  cache_control: string
  metadata: { [name: string]: Json }
}

export interface ListOptions {
  /** Files and folders of a page, up to 1000. */
  limit?: number
  /** That of the page before. */
  cursor?: string | null
  order?: 'name' | '-name' | 'created_at' | '-created_at' | 'updated_at' | '-updated_at'
  /** Files of folders below too, instead of these folders. */
  deep?: boolean
  signal?: AbortSignal | undefined
}

/** A page of a list. */
export interface ObjectPage {
  files: FileInfo[]
  /** They end with a slash. */
  folders: string[]
  /** For the page behind this one, or null. */
  cursor: string | null
}

/** The files of a bucket. A key is a path with slashes: `ada/holiday/1.jpg`. */
export interface Bucket {
  /** Stores a file. The key in the answer is as the server has it: in Unicode's normal form C. */
  upload(key: string, body: Content, options?: UploadOptions): Call<{ key: string }>
  /**
   * A file's content. `onProgress` is told as it comes. In a page, `URL.createObjectURL(blob)` is an address for `<img>`
   * that nobody else can use, until `URL.revokeObjectURL`.
   */
  download(
    key: string,
    options?: DownloadOptions & { onProgress?: (progress: { received: number; total: number | null }) => void },
  ): Call<Blob>
  /** The answer with a file's content, whose body is unread: for what is too large for memory. */
  stream(key: string, options?: DownloadOptions): Call<Response>
  /** What is known of a file, and what was stored beside it. */
  info(key: string): Call<StoredFile>
  /** Whether there is such a file that the caller may read. */
  exists(key: string): Call<boolean>
  /** What begins so: `ada/` is a folder, `ada/h` a search in it. */
  list(prefix?: string, options?: ListOptions): Call<ObjectPage>
  /** All files that begin so, those of folders too. */
  each(prefix?: string, options?: Omit<ListOptions, 'cursor' | 'deep'>): AsyncGenerator<FileInfo, void, undefined>
  /** Gives a file another key, and perhaps another bucket. */
  move(from: string, to: string, options?: { bucket?: string }): Call<{ key: string }>
  copy(from: string, to: string, options?: { bucket?: string; upsert?: boolean }): Call<{ key: string }>
  /** Removes up to 1000 files, and gives back the keys of those that were there and might be removed. */
  remove(keys: string | readonly string[]): Call<string[]>
  /** The address of a file of a public bucket. Nothing is asked. `download` has browsers save it, under that name. */
  publicUrl(key: string, options?: { download?: boolean | string }): string
  /**
   * An address that opens a file to whoever has it, for so many seconds: for `<img>` and `<video>`, which send no token.
   * The browser keeps what it shows and fetches parts by itself.
   */
  signedUrl(key: string, seconds: number, options?: { download?: boolean | string }): Call<string>
  /** The same for many at once. `url` is null where there is nothing that the caller may read. */
  signedUrls(
    keys: readonly string[],
    seconds: number,
    options?: { download?: boolean | string },
  ): Call<{ key: string; url: string | null }[]>
  /** Lets somebody else upload under a key, within two hours: give him the token. `url` takes a plain `PUT`. */
  signedUpload(key: string, options?: { upsert?: boolean }): Call<{ key: string; token: string; url: string }>
  /** Uploads with the token of somebody's `signedUpload`. */
  uploadSigned(
    key: string,
    token: string,
    body: Content,
    options?: Omit<UploadOptions, 'upsert'>,
  ): Call<{ key: string }>
}

/** Above which an upload comes in pieces. */
const LARGE = 6 << 20

/**
 * A key as a path. A part that is empty or `.` or `..` would be resolved away, by fetch or by a proxy, and be another
 * key: so such a key goes as one part, which the server refuses.
 */
const path = (key: string): string =>
  /(^|\/)\.{0,2}(\/|$)/.test(key) ? encodeURIComponent(`/${key}`) : key.split('/').map(encodeURIComponent).join('/')

/** What lists say of a file. */
interface Listed {
  key: string
  id: string
  created_at: string
  updated_at: string
  metadata: { eTag: string; size: number; mimetype: string }
}

/** What is said of one file. */
type Told = Omit<StoredFile, 'key' | 'type' | 'updated_at'> & {
  name: string
  content_type: string
  last_modified: string
}

/** Files: `storage(core).from('avatars')`. */
export function storage<S extends Schema = AnySchema>(core: Core<S>): { from(bucket: S['buckets']): Bucket } {
  return { from: (bucket) => bucketOf(core, bucket) }
}

function bucketOf(core: Core<Schema>, bucket: string): Bucket {
  const at = (door: string, key?: string): string =>
    `/storage/v1/object/${door}${path(bucket)}${key === undefined ? '' : `/${path(key)}`}`
  const post = <T>(path: string, json?: unknown, upsert?: boolean, signal?: AbortSignal): Promise<T> =>
    core.json<T>({ method: 'POST', path, json, headers: { 'x-upsert': `${upsert}` }, signal })

  // Of an address that the server made, only its token counts: where it leads is known.
  const signed = (key: string, address: string, download?: boolean | string): string =>
    core.url + at('sign/', key) + saving(download, /token=([\w.-]+)/.exec(address)?.[1])

  async function upload(
    key: string,
    body: Content,
    options: UploadOptions = {},
    signature?: string,
  ): Promise<{ key: string }> {
    const target = at('', key)
    const { signal, upsert, metadata, maxAge, onProgress } = options
    const {
      type = typeof body === 'string' ? 'text/plain;charset=utf-8' : '',
      name,
      lastModified,
    } = body as Partial<File>
    const { getReader } = body as Partial<ReadableStream>
    const read = getReader ? await new Response(body as ReadableStream).blob() : (body as BlobPart)
    // A Blob's type holds nothing that could not stand in a header.
    const content = new Blob([read], { type: options.type ?? type })
    if (signature || (options.resumable ?? (onProgress || content.size > LARGE))) {
      const mark = lastModified && [name, lastModified]
      await resumable(core, { bucket, key, body: content, mark, signature }, options)
    } else {
      await core.json({
        method: 'POST',
        path: target,
        headers: given({
          'x-upsert': `${upsert}`,
          'cache-control': maxAge === undefined ? undefined : `max-age=${maxAge}`,
          'x-metadata': metadata && base64(utf8(JSON.stringify(metadata))),
        }),
        body: content,
        signal,
        timeout: 600_000,
      })
    }
    return { key: key.normalize() }
  }

  async function stream(key: string, options: Parameters<Bucket['download']>[1] = {}): Promise<Response> {
    const { range, signal, onProgress } = options
    const response = await core.send({
      path: at('authenticated/', key),
      headers: range ? { range: `bytes=${range[0]}-${range[1] ?? ''}` } : {},
      signal,
    })
    const total = Number(response.headers.get('content-length')) || null
    let received = 0
    const told = new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, on) => {
        received += piece.length
        onProgress?.({ received, total })
        on.enqueue(piece)
      },
    })
    return new Response(response.body?.pipeThrough(told), response)
  }

  async function list(
    prefix = '',
    { limit, cursor, order = 'name', deep, signal }: ListOptions = {},
  ): Promise<ObjectPage> {
    const page = await post<{ objects: Listed[]; folders: { name: string }[]; nextCursor?: string }>(
      at('list-v2/'),
      {
        prefix,
        limit,
        cursor,
        with_delimiter: !deep,
        sortBy: { column: order.replace('-', ''), order: order[0] === '-' ? 'desc' : 'asc' },
      },
      false,
      signal,
    )
    return {
      files: page.objects.map(({ metadata: { size, mimetype, eTag }, ...file }) => ({
        ...file,
        size,
        type: mimetype,
        etag: eTag,
      })),
      folders: page.folders.map(({ name }) => name),
      cursor: page.nextCursor ?? null,
    }
  }

  const info = (key: string): Promise<StoredFile> =>
    core
      .json<Told>({ path: at('info/authenticated/', key) })
      .then(({ name, content_type, last_modified, ...told }) => ({
        ...told,
        key: name,
        type: content_type,
        updated_at: last_modified,
      }))

  async function change(how: string, from: string, to: string, options: { bucket?: string; upsert?: boolean } = {}) {
    const places = { bucketId: bucket, sourceKey: from, destinationBucket: options.bucket, destinationKey: to }
    await post(`/storage/v1/object/${how}`, places, options.upsert)
    return { key: to.normalize() }
  }

  const flows: Flows<Omit<Bucket, 'each' | 'publicUrl'>> = {
    upload: (key, body, options) => upload(key, body, options),
    async download(...given) {
      const response = await stream(...given)
      return response.blob().catch((cause) => {
        throw unreachable(cause, given[1]?.signal)
      })
    },
    stream,
    info,
    exists: (key) =>
      info(key).then(
        () => true,
        (error) => error.status !== 404 && Promise.reject(error),
      ),
    list,
    move: (...given) => change('move', ...given),
    copy: (...given) => change('copy', ...given),
    async remove(keys) {
      const prefixes = typeof keys === 'string' ? [keys] : keys
      const removed = await core.json<{ name: string }[]>({ method: 'DELETE', path: at(''), json: { prefixes } })
      return removed.map(({ name }) => name)
    },
    async signedUrl(key, seconds, options) {
      const { signedURL } = await post<{ signedURL: string }>(at('sign/', key), { expiresIn: seconds })
      return signed(key, signedURL, options?.download)
    },
    async signedUrls(keys, seconds, options) {
      const asked = { expiresIn: seconds, paths: keys }
      const signs = await post<{ path: string; signedURL: string | null }[]>(at('sign/'), asked)
      return signs.map(({ path, signedURL }) => ({
        key: path,
        url: signedURL && signed(path, signedURL, options?.download),
      }))
    },
    async signedUpload(key, options) {
      const address = at('upload/sign/', key)
      const { token } = await post<{ token: string }>(address, undefined, options?.upsert)
      return { key, token, url: core.url + address + saving(false, token) }
    },
    uploadSigned: (key, token, body, options) => upload(key, body, options, token),
  }
  return {
    ...calls<Omit<Bucket, 'each' | 'publicUrl'>>(flows),
    async *each(prefix, options) {
      let cursor: string | null = null
      do {
        const page: ObjectPage = await call(list(prefix, { ...options, cursor, deep: true }))
        yield* page.files
        cursor = page.cursor
      } while (cursor)
    },
    publicUrl: (key, options) => core.url + at('public/', key) + saving(options?.download),
  }
}

/** The query of an address. */
function saving(download?: boolean | string, token?: string): string {
  const query = new URLSearchParams(given({ token, download: download === true ? '' : download || undefined }))
  return `?${query}`.replace(/^\?$/, '')
}
