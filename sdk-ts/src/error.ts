import type { ErrorCode } from './codes.js'
import { type Members, attempt, isObject, list, text } from './shape.js'

/** One fault of one field of what was sent. */
export interface FieldFault {
  /** A JSON pointer into the body: `/title`, `/0/tags/2`. */
  readonly pointer: string
  /** A stable word: `required`, `kind`, `min`, `max`, `match`, `values`, `unique`, `reference`, `schema`, … */
  readonly code: string
  readonly message: string
}

/** Why something did not do what it was asked: the one error of this library. */
export class BasewrightError extends Error {
  override readonly name = 'BasewrightError'
  /**
   * A stable word: the server's own, or where there was no answer that could be used one of this library, as `network`,
   * `timeout`, `aborted`. What Postgres says of what is not foreseen is a code too, so no list of them is whole.
   */
  readonly code: ErrorCode | (string & {})
  /** The status that was meant, 0 where there was no answer. */
  declare readonly status: number
  declare readonly details: unknown
  declare readonly hint: string | null
  /** Each fault of what was sent, for forms. */
  declare readonly fields: readonly FieldFault[]
  /** Under which the server's log has more. */
  declare readonly requestId: string | null
  /** Seconds after which trying again makes sense. */
  declare readonly retryAfter: number | null

  constructor(
    code: ErrorCode | (string & {}),
    message: string,
    more: {
      status?: number
      details?: unknown
      hint?: string | null
      fields?: readonly FieldFault[]
      requestId?: string | null
      retryAfter?: number | null
      cause?: unknown
    } = {},
  ) {
    super(message, more)
    this.code = code
    const none = { status: 0, details: null, hint: null, fields: [], requestId: null, retryAfter: null }
    Object.assign(this, none, more)
  }

  /** The faults of one field by its name: `error.of('title')`. */
  of(field: string): readonly FieldFault[] {
    return this.fields.filter(({ pointer }) => pointer.split('/').includes(field))
  }
}

/** Whatever came, it is not what was asked for. */
export const bad = (more?: { status?: number; cause?: unknown }): BasewrightError =>
  new BasewrightError('bad_answer', 'The answer cannot be read', more)

/** What an answer that is no success says, in whichever of the server's dialects. Never throws. */
export async function errorOf(response: Response): Promise<BasewrightError> {
  // A proxy's page, or nothing: the status says it all.
  const body = Object(await attempt(() => response.json())) as Members
  const said = (...names: string[]): string | undefined => names.map((name) => text(body[name])).find(Boolean)
  const { statusCode, details, weak_password, fields } = body
  // An object may have anything for its `valueOf`.
  const meant = Number(isObject(statusCode) || statusCode)
  const { status, headers } = response
  const after = headers.get('retry-after') ?? ''
  // In seconds, or until a date.
  const seconds = /^\d+$/.test(after) ? Number(after) : Math.max((Date.parse(after) - Date.now()) / 1000, 0)
  return new BasewrightError(
    said('error_code', 'code', 'error') ?? 'bad_answer',
    said('message', 'msg', 'error_description') ?? `The server answered ${status}`,
    {
      status: meant >= 400 && meant < 600 ? meant : status,
      details: details ?? weak_password ?? null,
      hint: said('hint') ?? null,
      fields: list(fields).flatMap((fault) => {
        const { pointer, code, message } = Object(fault) as Members
        return text(pointer) === pointer ? { pointer, code: text(code), message: text(message) } : []
      }),
      requestId: said('request_id') ?? headers.get('x-request-id'),
      retryAfter: Number.isFinite(seconds) ? seconds : null,
    },
  )
}
