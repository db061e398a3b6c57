import { createClient } from '../../../sdk-ts/dist/index.js'

export const connect = (url, key) => createClient(url, key)

export async function signInAndList(app) {
  await app.auth.signIn({ email: 'ada@example.test', password: 'analytical engine' })
  return app.records('posts').list({
    fields: ['id', 'title'],
    with: { author: { fields: ['name'] } },
    where: { status: 'published' },
    order: '-published_at',
    limit: 10,
  })
}

export async function createComment(app, post, body, showFault) {
  const { data, error } = await app.records('comments').create({ post, body }).safe()
  for (const { pointer, message } of error?.fields ?? []) showFault(pointer.slice(1), message)
  return data
}

export function followComments(app, post, show) {
  return app.live('comments', { where: { post }, order: 'created_at' }).subscribe(show)
}

export async function uploadPicture(app, key, file, showProgress) {
  await app.storage.from('avatars').upload(key, file, {
    resumable: true,
    onProgress: ({ sent, total }) => showProgress(sent / total),
  })
}

export async function everyPost(app, visit) {
  for await (const post of app.records('posts').each({ fields: ['id', 'title'], limit: 100 })) visit(post)
}
