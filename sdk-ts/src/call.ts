import { BasewrightError } from './error.js'

/** What came of something: a value or an error, never both. */
export type Outcome<T> = { data: T; error: null } | { data: null; error: BasewrightError }

/** Something under way. `await` it, and catch a `BasewrightError`; or `await it.safe()`, which never throws. */
export interface Call<T> extends Promise<T> {
  safe(): Promise<Outcome<T>>
}

/** What was thrown, as the one error that there is. */
export const asError = (cause: unknown): BasewrightError =>
  cause instanceof BasewrightError ? cause : new BasewrightError('invalid_request', String(cause), { cause })

/** Makes a call of a promise. Whatever it rejects with, the call rejects with a `BasewrightError`. */
export function call<T>(work: Promise<T>): Call<T> {
  const sure = work.catch((cause: unknown): never => {
    throw asError(cause)
  })
  const safe = (): Promise<Outcome<T>> =>
    sure.then(
      (data) => ({ data, error: null }),
      (error: BasewrightError) => ({ data: null, error }),
    )
  return Object.assign(sure, { safe })
}
