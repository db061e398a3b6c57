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

/** What can fail, before it is made a `Call`. */
export type Flows<A> = {
  [N in keyof A]: A[N] extends (...given: infer P) => Call<infer T> ? (...given: P) => Promise<T> : Flows<A[N]>
}

/** Makes calls of all that there is to be done. What is wrong with an argument is told as everything else is. */
export function calls<A>(flows: Flows<A>): A {
  type Flow = (...given: unknown[]) => unknown
  const all = Object.entries(flows as Record<string, Flow | Flows<unknown>>).map(([name, flow]) => [
    name,
    typeof flow === 'function' ? (...given: unknown[]) => call((async () => flow(...given))()) : calls(flow),
  ])
  return Object.fromEntries(all) as A
}
