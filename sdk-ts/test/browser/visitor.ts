// Somebody in front of a page, who notices whatever a page should not do.
import assert from 'node:assert/strict'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

export interface Visitor {
  page: Page
  /** Cuts the whole browser from the network, or gives it back. */
  offline(off: boolean): Promise<void>
  /** Fails if the page logged an error, broke its content security policy, or ran what was only text. */
  unharmed(): Promise<void>
  close(): Promise<void>
}

/** What a browser says by itself where there is no line: no fault of the page. */
const NO_LINE = /^Failed to load resource: |WebSocket connection to/

/** Opens a page in a browser of its own: other cookies, another store. Confirms whatever it is asked to confirm. */
export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visitor> {
  const context = await browser.newContext(options)
  context.setDefaultTimeout(20_000)
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (said) => {
    if (said.type() === 'error' && !NO_LINE.test(said.text())) faults.push(said.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('dialog', (dialog) => {
    if (dialog.type() !== 'confirm') faults.push(`a dialog: ${dialog.message()}`)
    void dialog.accept()
  })
  await page.addInitScript(() => {
    const seen: string[] = []
    Object.assign(window, { violations: seen })
    addEventListener('securitypolicyviolation', (event) => seen.push(`${event.violatedDirective} ${event.blockedURI}`))
  })
  await page.goto(url)
  return {
    page,
    offline: (off) => context.setOffline(off),
    unharmed: async () => {
      const found = await page.evaluate(() => {
        const { violations, canary } = window as unknown as { violations: string[]; canary?: unknown }
        return { violations, canary: canary ?? null }
      })
      assert.deepEqual({ faults, ...found }, { faults: [], violations: [], canary: null })
    },
    close: () => context.close(),
  }
}

/** The buttons, fields and links of a page that have no name for those who do not see it. */
export const nameless = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('button, input, textarea, select, a[href], [role=region], img')]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }))
      .filter((element) => {
        const labels = (element as HTMLInputElement).labels
        const name = [
          element.ariaLabel,
          element.title,
          element.textContent,
          ...[...(labels ?? [])].map((label) => label.textContent),
          element instanceof HTMLImageElement && element.hasAttribute('alt') ? 'a picture' : '',
        ]
        return name.every((text) => (text ?? '').trim() === '')
      })
      .map((element) => element.outerHTML.slice(0, 100)),
  )
