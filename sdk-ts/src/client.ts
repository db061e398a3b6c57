import { type Auth, auth } from './auth.js'
import { type Channel, type ChannelOptions, channel } from './channel.js'
import { type Core, connect, type Options } from './core.js'
import { type Live, type LiveQuery, live } from './live.js'
import type { Result, Strict } from './query.js'
import { type Records, records } from './records.js'
import type { AnySchema, Name, Schema } from './schema.js'
import { type Bucket, storage } from './storage.js'

/** All that a server offers, in one place. */
export interface Client<S extends Schema = AnySchema> extends Core<S> {
  readonly auth: Auth
  /** The records of a collection. */
  records<N extends Name<S>>(name: N): Records<S, N>
  /** A query that follows what happens. */
  live<N extends Name<S>, const Q extends LiveQuery<S, N> = {}>(
    name: N,
    query?: Strict<S, N, Q, keyof LiveQuery<S, N>>,
    options?: { signal?: AbortSignal },
  ): Live<Result<S, N, Q>>
  /** Messages between clients, and who is there. */
  channel(topic: S['channels'], options?: ChannelOptions): Channel
  readonly storage: { from(bucket: S['buckets']): Bucket }
}

/**
 * Connects to a server, with everything: `createClient<Schema>(url, key)`, where `Schema` is what `basewright types` wrote.
 * Who needs less imports `connect` and the functions that take what it gives, and the rest is left out by bundlers.
 */
export function createClient<S extends Schema = AnySchema>(
  url: string | URL,
  key: string,
  options?: Options,
): Client<S> {
  const core = connect<S>(url, key, options)
  return {
    ...core,
    auth: auth(core),
    records: (name) => records(core, name),
    live: (name, query, more) => live(core, name, query, more),
    channel: (topic, more) => channel(core, topic, more),
    storage: storage(core),
  }
}
