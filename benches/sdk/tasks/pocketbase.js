// Not run here: this is how its documentation has the same things done.
import PocketBase from 'pocketbase'

export const connect = (url) => new PocketBase(url)

export async function signInAndList(app) {
  await app.collection('users').authWithPassword('ada@example.test', 'analytical engine')
  const page = await app.collection('posts').getList(1, 10, {
    fields: 'id,title,expand.author.name',
    expand: 'author',
    filter: 'status = "published"',
    sort: '-published_at',
    skipTotal: true,
  })
  return page.items.map(({ expand, ...post }) => ({ ...post, author: expand?.author ?? null }))
}

export async function createComment(app, post, body, showFault) {
  try {
    return await app.collection('comments').create({ post, body, author: app.authStore.record.id })
  } catch (error) {
    for (const [field, { message }] of Object.entries(error.response?.data ?? {})) showFault(field, message)
    return null
  }
}

export async function followComments(app, post, show) {
  const filter = app.filter('post = {:post}', { post })
  let comments = new Map()
  const tell = () => show([...comments.values()].sort((a, b) => (a.created < b.created ? -1 : 1)))
  async function read() {
    const list = await app.collection('comments').getFullList({ filter, sort: 'created' })
    comments = new Map(list.map((comment) => [comment.id, comment]))
    tell()
  }
  const stop = await app.collection('comments').subscribe(
    '*',
    ({ action, record }) => {
      if (action === 'delete') comments.delete(record.id)
      else comments.set(record.id, record)
      tell()
    },
    { filter },
  )
  // After a lost connection, and once now: what happened meanwhile is not told.
  const stopConnects = await app.realtime.subscribe('PB_CONNECT', read)
  await read()
  return () => Promise.all([stop(), stopConnects()])
}

export function uploadPicture(app, record, file, showProgress) {
  // Its own request has no progress.
  return new Promise((resolve, reject) => {
    const body = new FormData()
    body.set('picture', file)
    const request = new XMLHttpRequest()
    request.open('PATCH', app.buildURL(`/api/collections/users/records/${record}`))
    request.setRequestHeader('authorization', app.authStore.token)
    request.upload.onprogress = ({ loaded, total }) => showProgress(loaded / total)
    request.onload = () => (request.status < 300 ? resolve() : reject(new Error(request.responseText)))
    request.onerror = () => reject(new Error('The server cannot be reached'))
    request.send(body)
  })
}

export async function everyPost(app, visit) {
  let last = ''
  for (;;) {
    const filter = last ? app.filter('id > {:last}', { last }) : ''
    const page = await app.collection('posts').getList(1, 100, { fields: 'id,title', sort: 'id', filter, skipTotal: true })
    page.items.forEach(visit)
    if (page.items.length < 100) return
    last = page.items.at(-1).id
  }
}
