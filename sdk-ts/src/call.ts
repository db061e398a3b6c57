import { BasewrightError } from './error.js'

/** What came of something: a value or an error, never both. */
export type Outcome<T> = { data: T; error: null } | { data: null; error: BasewrightError }

/** Something under way. `await` it, and catch a `BasewrightError`; or `await it.safe()`, which never throws. */
export interface Call<T> extends Promise<T> {
  safe(): Promise<Outcome<T>>
}

/** Makes a call of a promise that rejects with nothing but `BasewrightError`s. */
export function call<T>(work: Promise<T>): Call<T> {
  const safe = (): Promise<Outcome<T>> =>
    work.then(
      (data) => ({ data, error: null }),
      (error: unknown) => {
        if (error instanceof BasewrightError) return { data: null, error }
        throw error
      },
    )
  return Object.assign(work, { safe })
}
