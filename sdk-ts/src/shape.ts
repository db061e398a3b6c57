// What is known of values that somebody else made.

/** An object of which nothing is known. */
export type Members = Record<string, unknown>

export const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null

/** What is text, and of anything else none. */
export const text = (value: unknown): string => (typeof value === 'string' ? value : '')

/** What is a list, and of anything else an empty one. */
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])

/** What is there of an object: no header and no option is sent that was not given. */
export const given = (members: object): Record<string, string> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)

export function base64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}

/** What is tried, or undefined if it fails. */
export async function attempt<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch {
    return undefined
  }
}
