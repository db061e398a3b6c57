// Who hears of what.

/** Adds a listener of its own, and gives back what takes it out. */
// biome-ignore lint: whatever it is called with
export function watch<F extends (...args: any[]) => void>(all: Set<F>, listener: F): () => void {
  const own = ((...args) => listener(...args)) as F
  all.add(own)
  return () => void all.delete(own)
}

/** Calls all of them, whatever one does: what it throws is seen as any rejection is that nobody handles. */
export function tell<A extends unknown[]>(listeners: Iterable<(...args: A) => void>, ...args: A): void {
  for (const listener of [...listeners]) {
    try {
      listener(...args)
    } catch (error) {
      void Promise.reject(error)
    }
  }
}

/** Hears what happens to a page, until what it gives back is called. Other platforms say nothing. */
export function attend(events: string, act: () => void): () => void {
  const all = events.split(' ')
  for (const event of all) globalThis.addEventListener?.(event, act)
  return () => {
    for (const event of all) globalThis.removeEventListener?.(event, act)
  }
}

/** Calls back once a signal says so, or now if it has; gives back what ends that. */
export function heed(signal: AbortSignal | undefined, act: () => void): () => void {
  if (signal?.aborted) act()
  signal?.addEventListener('abort', act)
  return () => signal?.removeEventListener('abort', act)
}
