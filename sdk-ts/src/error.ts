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
   * A stable word. The server's own (`ErrorCode` of the generated types), or one of this library: `network` (no answer),
   * `timeout`, `aborted`, `bad_answer` (not what the server would say), `offline`, `closed`, `unasked_session` (in an address).
   */
  readonly code: string
  /** The status that was meant, 0 where there was no answer. */
  readonly status: number
  readonly details: unknown
  readonly hint: string | null
  /** Each fault of what was sent, for forms. */
  readonly fields: readonly FieldFault[]
  /** Under which the server's log has more. */
  readonly requestId: string | null
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | null

  constructor(
    code: string,
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
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.code = code
    this.status = more.status ?? 0
    this.details = more.details ?? null
    this.hint = more.hint ?? null
    this.fields = more.fields ?? []
    this.requestId = more.requestId ?? null
    this.retryAfter = more.retryAfter ?? null
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
    const read: unknown = await response.json()
    if (typeof read === 'object' && read !== null) body = read as Record<string, unknown>
  } catch {
    // A proxy's page, or nothing: the status says it all.
  }
  const meant = Number(body['statusCode'])
  const code = text(body['error_code']) ?? text(body['code']) ?? text(body['error'])
  const message = text(body['message']) ?? text(body['msg']) ?? text(body['error_description'])
  const after = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new BasewrightError(code ?? 'bad_answer', message ?? `The server answered ${response.status}`, {
    status: meant >= 400 && meant < 600 ? meant : response.status,
    details: body['details'] ?? body['weak_password'],
    hint: text(body['hint']),
    fields: faults(body['fields']),
    requestId: text(body['request_id']) ?? response.headers.get('x-request-id'),
    retryAfter: Number.isFinite(after) ? after : null,
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
