// The blog from JavaScript: `node client.mjs URL PUBLISHABLE_KEY EMAIL PASSWORD`
import { createClient } from '@supabase/supabase-js'

const [url, key, email, password] = process.argv.slice(2)
const blog = createClient(url, key, {
  // A browser would keep the session and refresh it; a script that ends does neither.
  auth: { persistSession: false, autoRefreshToken: false },
  // Node 20 has no WebSocket, which the client asks for when it is made. Nothing here opens one.
  realtime: { transport: globalThis.WebSocket ?? class {} },
})

const signedIn = await blog.auth.signInWithPassword({ email, password })
if (signedIn.error) throw signedIn.error

const { data: posts, count } = await blog
  .from('posts')
  .select('title, author!inner(name), comments(count)', { count: 'exact' })
  .eq('status', 'published')
  .eq('author.handle', 'ada')
  .order('published_at', { ascending: false })
  .limit(3)
console.log(`${count} posts by ada, the newest:`)
for (const post of posts) console.log(`  ${post.title} (${post.comments[0].count} comments)`)

const { data: post } = await blog.from('posts').select('id').eq('slug', 'notes-on-the-engine').single()
const { data: comment } = await blog
  .from('comments')
  .insert({ post: post.id, body: 'Written from JavaScript.' })
  .select('body, author(name), post(title)')
  .single()
console.log(`${comment.author.name} wrote under "${comment.post.title}": ${comment.body}`)

const ada = '00000000-0000-4000-8000-000000000ada'
const { error } = await blog.from('posts').insert({ title: 'In her name', slug: 'in-her-name', author: ada })
console.log(`refused: ${error.code} ${error.message}`)
