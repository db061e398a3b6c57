// Makes the one module that the server gives to pages. esbuild puts the files together; terser names what is in them,
// and gives siblings the same names where esbuild has new ones for each: that compresses better by 6%.
import { writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

const HOME = dirname(fileURLToPath(import.meta.url))

/** What a page has to load of a module of `src`, given as its text, under the name of a file. */
export async function bundle(contents, name = 'index.js') {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: join(HOME, 'src'), loader: 'ts' },
    bundle: true,
    minifySyntax: true,
    format: 'esm',
    target: 'es2022',
    sourcemap: 'external',
    write: false,
    outfile: join(HOME, 'bundle', name),
  })
  const [map, module] = outputFiles.map(({ text }) => text)
  return minify(module, {
    module: true,
    ecma: 2022,
    compress: { passes: 3, hoist_funs: true, inline: 1, unsafe_arrows: true },
    format: { ascii_only: true },
    sourceMap: { content: map, url: `${name}.map` },
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = process.argv[2]
  const { code, map } = await bundle("export * from './index.js'", basename(file))
  writeFileSync(file, code)
  writeFileSync(`${file}.map`, map)
}
