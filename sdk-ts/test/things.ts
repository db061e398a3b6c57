// A project with every kind of field, for tests of records, and what is known of it.
import type { Json } from '../src/index.js'

export const things = {
  'basewright.yaml': `
limits: { rows: 200 }
collections:
  things:
    fields:
      title: text
      count: integer
      big:   bigint
      ratio: float
      price: decimal
      done:  boolean
      ref:   uuid
      at:    timestamp
      day:   date
      meta:  json
      tags:  'text[]'
      marks: 'integer[]'
      state: { type: enum, values: [open, shut], default: open }
      code:  { type: text, unique: true, max: 40 }
    search: { fields: [title], language: simple }
  parts:
    fields:
      thing: { type: relation, to: things, on_delete: cascade }
      name:  { type: text, required: true, max: 20 }
  members:
    primary_key: [room, user]
    timestamps: false
    fields:
      room: text
      user: text
      level: { type: integer, required: true, min: 0 }
  # Written by everybody, read by nobody.
  letters:
    fields: { text: { type: text, required: true } }
  # Seen only once somebody said so.
  quiet:
    fields: { text: { type: text, required: true }, seen: { type: boolean, required: true, default: false } }
  closed:
    fields: { text: text }
policies:
  things:  { read: [{ role: anon }], create: [{ role: anon }], update: [{ role: anon }], delete: [{ role: anon }] }
  parts:   { read: [{ role: anon }], create: [{ role: anon }], update: [{ role: anon }], delete: [{ role: anon }] }
  members: { read: [{ role: anon }], create: [{ role: anon }], update: [{ role: anon }], delete: [{ role: anon }] }
  letters: { create: [{ role: anon }] }
  quiet:   { read: [{ role: anon, when: seen }], create: [{ role: anon }], update: [{ role: anon }], delete: [{ role: anon }] }
  closed:  { read: [{ role: anon }] }
`,
}

interface Stamps {
  id: string
  created_at: string
  updated_at: string
}

export interface Thing extends Stamps {
  title: string | null
  count: number | null
  big: number | null
  ratio: number | null
  price: number | null
  done: boolean | null
  ref: string | null
  at: string | null
  day: string | null
  meta: Json | null
  tags: string[] | null
  marks: number[] | null
  state: 'open' | 'shut' | null
  code: string | null
}

interface Part extends Stamps {
  thing: string | null
  name: string
}

interface Member {
  room: string
  user: string
  level: number
}

interface Letter extends Stamps {
  text: string
}

interface Plain<R, New, Relations = {}, Key = 'id', Search = false> {
  Row: R
  New: New
  Patch: Partial<R>
  Key: Key
  Relations: Relations
  Search: Search
}

export interface Schema {
  collections: {
    things: Plain<Thing, Partial<Thing>, { parts: { to: 'parts'; many: true } }, 'id', true>
    parts: Plain<Part, { name: string; thing?: string | null }, { thing: { to: 'things'; many: false } }>
    members: Plain<Member, Member, {}, 'room' | 'user'>
    letters: Plain<Letter, { text: string }>
    quiet: Plain<Letter & { seen: boolean }, { text: string; seen?: boolean }>
    closed: Plain<Stamps & { text: string | null }, never>
  }
  buckets: never
  channels: string
}
