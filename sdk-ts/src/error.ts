import type { ErrorCode } from './codes.js'

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

const text = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)

/** What an answer that is no success says, in whichever of the server's dialects. Never throws. */
export async function errorOf(response: Response): Promise<BasewrightError> {
  let body: Record<string, unknown> = {}
  try {
    body = Object(await response.json()) as Record<string, unknown>
  } catch {
    // A proxy's page, or nothing: the status says it all.
  }
  const meant = Number(body['statusCode'])
  const code = text(body['error_code']) ?? text(body['code']) ?? text(body['error'])
  const message = text(body['message']) ?? text(body['msg']) ?? text(body['error_description'])
  const after = response.headers.get('retry-after') ?? ''
  // In seconds, or until a date.
  const seconds = /^\d+$/.test(after) ? Number(after) : Math.max((Date.parse(after) - Date.now()) / 1000, 0)
  return new BasewrightError(code ?? 'bad_answer', message ?? `The server answered ${response.status}`, {
    status: meant >= 400 && meant < 600 ? meant : response.status,
    details: body['details'] ?? body['weak_password'] ?? null,
    hint: text(body['hint']),
    fields: faults(body['fields']),
    requestId: text(body['request_id']) ?? response.headers.get('x-request-id'),
    retryAfter: Number.isFinite(seconds) ? seconds : null,
  })
}

function faults(given: unknown): FieldFault[] {
  if (!Array.isArray(given)) return []
  return given.flatMap((fault: Record<string, unknown> | null) => {
    const pointer = fault?.['pointer']
    if (typeof pointer !== 'string') return []
    return [{ pointer, code: text(fault?.['code']) ?? '', message: text(fault?.['message']) ?? '' }]
  })
}
