import { createClient } from '@supabase/supabase-js'
import { Upload } from 'tus-js-client'

export const connect = (url, key) => createClient(url, key)

export async function signInAndList(app) {
  const signedIn = await app.auth.signInWithPassword({ email: 'ada@example.test', password: 'analytical engine' })
  if (signedIn.error) throw signedIn.error
  const { data, error } = await app
    .from('posts')
    .select('id, title, author(name)')
    .eq('status', 'published')
    .order('published_at', { ascending: false })
    .limit(10)
  if (error) throw error
  return data
}

export async function createComment(app, post, body, showFault) {
  const { data, error } = await app.from('comments').insert({ post, body }).select().single()
  // Which field is at fault stands in the sentence.
  for (const [, field, message] of (error?.details ?? '').matchAll(/\/(\w+) ([^;]+)/g)) showFault(field, message)
  return data
}

export function followComments(app, post, show) {
  let comments = new Map()
  let waiting = []
  const apply = ({ eventType, new: after, old: before }) => {
    if (eventType === 'DELETE') comments.delete(before.id)
    else comments.set(after.id, after)
  }
  const tell = () => show([...comments.values()].sort((a, b) => (a.created_at < b.created_at ? -1 : 1)))
  async function read() {
    waiting = []
    const { data, error } = await app.from('comments').select().eq('post', post).order('created_at')
    if (error) return setTimeout(read, 1000)
    comments = new Map(data.map((comment) => [comment.id, comment]))
    // What came while they were read is newer than they are, or the same.
    waiting.forEach(apply)
    waiting = null
    tell()
  }
  const channel = app
    .channel(`comments of ${post}`)
    .on('postgres_changes', { event: '*', schema: 'public', table: 'comments', filter: `post=eq.${post}` }, (change) => {
      if (waiting) return waiting.push(change)
      apply(change)
      tell()
    })
    // After a lost connection it is subscribed again, and what happened meanwhile is not told.
    .subscribe((status) => status === 'SUBSCRIBED' && read())
  return () => app.removeChannel(channel)
}

export async function uploadPicture(app, key, file, showProgress) {
  const { data } = await app.auth.getSession()
  await new Promise((resolve, reject) => {
    const upload = new Upload(file, {
      endpoint: `${app.storageUrl}/upload/resumable`,
      headers: { authorization: `Bearer ${data.session.access_token}`, apikey: app.supabaseKey },
      metadata: { bucketName: 'avatars', objectName: key, contentType: file.type },
      chunkSize: 6 * 1024 * 1024,
      retryDelays: [0, 1000, 3000, 5000],
      onProgress: (sent, total) => showProgress(sent / total),
      onSuccess: resolve,
      onError: reject,
    })
    upload.findPreviousUploads().then((previous) => {
      if (previous.length > 0) upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    }, reject)
  })
}

export async function everyPost(app, visit) {
  let last = null
  for (;;) {
    let query = app.from('posts').select('id, title').order('id').limit(100)
    if (last) query = query.gt('id', last)
    const { data, error } = await query
    if (error) throw error
    data.forEach(visit)
    if (data.length < 100) return
    last = data.at(-1).id
  }
}
