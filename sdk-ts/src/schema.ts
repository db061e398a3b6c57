/** What JSON can say. */
export type Json = string | number | boolean | null | Json[] | { [member: string]: Json }

/** Where a relation leads. */
export interface Relation {
  /** The name of the related collection. */
  to: string
  /** Whether there may be more than one related record. */
  many: boolean
}

/** What is known of a collection, as `basewright types` writes it. */
export interface Collection {
  /** A record as it is read. */
  Row: object
  /** What creating one takes. */
  New: object
  /** What changing one takes. */
  Patch: object
  /** The names of the fields of the key. */
  Key: string
  Relations: { [name: string]: Relation }
  /** Whether it has a `search` that filters may ask. */
  Search: boolean
}

/** What is known of a project, as `basewright types` writes it. */
export interface Schema {
  collections: { [name: string]: Collection }
  /** The names of the buckets. */
  buckets: string
  /** The topics of the channels. */
  channels: string
}

/** Of a project of which nothing is known, everything may be. */
export interface AnySchema extends Schema {
  collections: {
    [name: string]: {
      // biome-ignore lint: whatever is there
      Row: Record<string, any>
      New: Record<string, unknown>
      Patch: Record<string, unknown>
      Key: string
      // biome-ignore lint: whatever is there
      Relations: { [name: string]: { to: string; many: any } }
      Search: boolean
    }
  }
}

/** The names of a project's collections. */
export type Name<S extends Schema> = keyof S['collections'] & string
/** A record of a collection. */
export type Row<S extends Schema, N extends Name<S>> = S['collections'][N]['Row']
/** What creating a record takes. */
export type New<S extends Schema, N extends Name<S>> = S['collections'][N]['New']
/** What changing a record takes. */
export type Patch<S extends Schema, N extends Name<S>> = S['collections'][N]['Patch']
