// A reader of the blog: pages of posts, search, and comments that come by themselves.
import { createClient } from '/sdk/index.js'
import { url, key } from '/sdk/here.js'

const app = createClient(url, key)
const posts = app.records('posts')
const $ = (selector) => document.querySelector(selector)
const author = { fields: ['name'] }
const day = (time) => new Date(time).toLocaleDateString([], { dateStyle: 'long' })

/** Makes an element of a template, with text for each of its parts. */
function make(template, texts) {
  const element = $(template).content.firstElementChild.cloneNode(true)
  for (const [selector, text] of Object.entries(texts)) element.querySelector(selector).textContent = text
  return element
}

// ------------------------------------------------------------ the list

let pages // of what is looked for

function find(words) {
  const search = words ? { search: { wfts: words } } : {}
  pages = posts.pages({
    fields: ['id', 'title', 'published_at'],
    with: { author },
    where: { status: 'published', ...search },
    order: ['-published_at', 'id'],
    limit: 20,
  })
  $('#list ol').replaceChildren()
  more()
}

async function more() {
  const from = pages
  const { value, done } = await from.next()
  if (from !== pages) return // Somebody looked for something else meanwhile.
  $('#more').hidden = done || value.length < 20
  for (const post of value ?? []) {
    const element = make('#post-row', { a: post.title, '.by': `${post.author?.name}, ${day(post.published_at)}` })
    element.querySelector('a').href = `#${post.id}`
    $('#list ol').append(element)
  }
  $('#none').hidden = $('#list ol').childElementCount > 0
}

$('#more').addEventListener('click', more)
$('#search').addEventListener('submit', (event) => {
  event.preventDefault()
  location.hash = ''
  find($('#search').elements.words.value)
})

// ------------------------------------------------------------ one post

let comments // of the post that is open

async function show() {
  const id = location.hash.slice(1)
  const post = id && (await posts.first({ where: { id }, with: { author } }).safe()).data
  if (id !== location.hash.slice(1)) return // Somebody went on to another meanwhile.
  comments?.close()
  $('#list').hidden = Boolean(post)
  $('#post').hidden = !post
  if (!post) return
  $('#post h2').textContent = post.title
  $('#post .by').textContent = `${post.author?.name}, ${day(post.published_at)}`
  $('#post .body').textContent = post.body
  comments = app.live('comments', { where: { post: id }, with: { author }, order: ['created_at', 'id'], limit: 500 })
  comments.subscribe((rows) => {
    $('#comments').replaceChildren(...rows.map((row) =>
      make('#comment-row', { p: row.body, '.by': `${row.author?.name ?? 'Somebody'}, ${day(row.created_at)}` })))
  })
}
addEventListener('hashchange', show)

// ------------------------------------------------------------ signing in and commenting

/** Does what a form is for, and shows what the server has against it. */
function onSubmit(form, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const { error } = await work(Object.fromEntries(new FormData(form))).safe()
    // What is wrong with a field is said in the field's own words: `error.of('body')`.
    const faults = error?.fields.map(({ pointer, message }) => `${pointer.slice(1)} ${message}`).join(', ')
    form.querySelector('.fault').textContent = faults || (error?.message ?? '')
    if (!error) form.reset()
  })
}
onSubmit($('#sign-in'), ({ email, password }) => app.auth.signIn({ email, password }))
onSubmit($('#comment'), ({ body }) => app.records('comments').create({ post: location.hash.slice(1), body }))
$('#sign-out').addEventListener('click', () => app.auth.signOut().safe())
app.auth.onChange((_, session) => {
  $('#sign-in').hidden = session !== null
  $('#comment').hidden = session === null
})

find('')
show()
