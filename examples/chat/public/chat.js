// A chat. What it needs of a server is declared in YAML; what it says to the server, it says through the client.
// Text of others becomes text (`textContent`) and never markup.
import { createClient } from '/sdk/index.js'
import { url, key } from '/sdk/here.js'

const app = createClient(url, key)
const files = app.storage.from('attachments')
const PAGE = 50

// ---------------------------------------------------------------- small things

const $ = (id) => document.getElementById(id)
const copy = (template) => $(template).content.firstElementChild.cloneNode(true)

/** Makes the elements of a list be those of its rows. What is there already stays, with its focus and its place. */
function fillList(list, rows, template, idOf, fill) {
  const there = new Map([...list.children].map((element) => [element.dataset.id, element]))
  const wanted = rows.map((row, at) => {
    const element = there.get(idOf(row)) ?? copy(template)
    there.delete(idOf(row))
    element.dataset.id = idOf(row)
    fill(element, row, rows[at - 1])
    return element
  })
  for (const gone of there.values()) gone.remove()
  wanted.forEach((element, at) => {
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null)
  })
}

/** The initial of somebody, in a colour that follows from his id. */
function fillFace(element, person) {
  const face = element.querySelector('.face')
  face.textContent = [...(person?.name ?? '?')][0].toUpperCase()
  element.style.setProperty('--hue', Number.parseInt((person?.id ?? '0').slice(-3), 16) % 360)
}

/** Does what a form is for, and shows what the server has against it beside the fields that it is about. */
function onSubmit(form, work) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    showFault(form, null)
    const values = Object.fromEntries(new FormData(form))
    form.ariaBusy = 'true'
    try {
      await work(values, event.submitter)
    } catch (error) {
      showFault(form, error)
    }
    form.ariaBusy = 'false'
  })
}

function showFault(form, error) {
  let placed = false
  for (const place of form.querySelectorAll('.fault[data-field]')) {
    place.textContent = error?.of(place.dataset.field).map(({ message }) => message).join(', ') ?? ''
    placed ||= place.textContent !== ''
  }
  const rest = form.querySelector('.fault:not([data-field])')
  if (rest) rest.textContent = error && !placed ? error.message : ''
}

/** An id that sorts by time, as the server makes them (UUID, version 7). */
function newId() {
  const time = Date.now().toString(16).padStart(12, '0')
  const bytes = crypto.getRandomValues(new Uint8Array(10))
  const random = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`
}

// ---------------------------------------------------------------- who is here

let user // the id of who is signed in, null for nobody
let me // and the profile
let mine // which is live: it may have to be made first, and may be changed elsewhere

function showDoor(form) {
  if (!$('door').hidden && !$(form).hidden) return
  $('app').hidden = true
  $('door').hidden = false
  for (const each of ['sign-in', 'code', 'profile']) $(each).hidden = each !== form
  $('demo').hidden = form !== 'sign-in'
  $(form).querySelector('input').focus()
}

let address // to which a code was sent

onSubmit($('sign-in'), async ({ email, password }, button) => {
  if (button?.value !== 'up') return app.auth.signIn({ email, password })
  const { session } = await app.auth.signUp({ email, password })
  if (session) return
  address = email
  showDoor('code')
})
$('to-sign-in').addEventListener('click', () => showDoor('sign-in'))
onSubmit($('code'), ({ code }) => app.auth.verify({ email: address, code, type: 'signup' }))
onSubmit($('profile'), (values) => app.records('profiles').create(values))

$('demo').addEventListener('click', async ({ target }) => {
  if (!target.value) return
  const { error } = await app.auth.signIn({ email: target.value, password: 'analytical engine' }).safe()
  showFault($('sign-in'), error)
})
$('sign-out').addEventListener('click', () => app.auth.signOut().safe())

// ---------------------------------------------------------------- rooms

let rooms // those that one is in: the policies decide, so there is nothing to filter
let recent // the newest messages of all of them, for the unread marks

function start(profile) {
  const isEntering = me === undefined
  me = profile
  fillFace($('side').querySelector('footer'), me)
  $('me').textContent = me.name
  if (!isEntering) return
  $('door').hidden = true
  $('app').hidden = false
  $('sign-in').reset()
  rooms = app.live('rooms', { order: 'name' })
  rooms.subscribe(drawRooms)
  rooms.onStatus(drawStatus)
  recent = app.live('messages', { fields: ['id', 'room', 'author', 'created_at'], order: '-created_at', limit: 100 })
  recent.subscribe(drawRooms)
}

function stop() {
  closeRoom()
  const lives = [mine, rooms, recent]
  mine = rooms = recent = me = undefined
  for (const live of lives) live?.close()
  waiting.clear()
  for (const list of ['rooms', 'messages', 'members']) $(list).replaceChildren()
}

// What was read is remembered by this browser alone.
const readKey = (room) => `read:${me.id}:${room}`
const unread = (id) => {
  const read = localStorage.getItem(readKey(id)) ?? ''
  return recent.records.filter(({ room, author, created_at }) => room === id && author !== me.id && created_at > read).length
}

function drawRooms() {
  if (!rooms) return
  fillList($('rooms'), rooms.records, 'room-row', (row) => row.id, (element, row) => {
    const link = element.querySelector('a')
    link.href = `#${row.id}`
    if (row.id === open?.id) link.ariaCurrent = 'page'
    else link.removeAttribute('aria-current')
    element.querySelector('.name').textContent = row.name
    const count = row.id === open?.id ? 0 : unread(row.id)
    const mark = element.querySelector('.unread')
    mark.hidden = count === 0
    mark.textContent = count
    mark.ariaLabel = `${count} unread`
  })
  $('no-rooms').hidden = rooms.records.length > 0 || rooms.status !== 'live'
  goToRoom()
}

onSubmit($('new-room'), async ({ name }) => {
  const room = await app.records('rooms').create({ name })
  await app.records('members').create({ room: room.id, user: me.id })
  $('new-room').reset()
  location.hash = room.id
})

/** Opens the room that the address names, once it is there; a room that one may not see any more is closed. */
function goToRoom() {
  const room = rooms?.records.find(({ id }) => id === location.hash.slice(1))
  if (room && room.id !== open?.id) openRoom(room)
  else if (!room && open) closeRoom()
  if (room) $('room-title').textContent = room.name
}
addEventListener('hashchange', goToRoom)

// ---------------------------------------------------------------- the open room

let open // its id and owner, its live queries, its channel, who types

function openRoom(room) {
  closeRoom()
  open = {
    id: room.id,
    owner: room.owner,
    members: app.live('members', { where: { room: room.id }, with: { user: true } }),
    channel: app.channel(`room:${room.id}`, { presence: me.id }),
    typing: new Map(),
  }
  open.members.subscribe(drawMembers)
  open.channel.on('typing', (said) => showTyping(said?.user))
  open.channel.onPresence(drawMembers)
  open.channel.track({}).safe()
  atEnd = true
  showMessages(PAGE)
  $('app').classList.add('open')
  $('leave').textContent = room.owner === me.id ? 'Delete this room' : 'Leave this room'
  $('invite').hidden = room.owner !== me.id
  drawRooms()
  // Where there is a keyboard, one writes at once; on a phone it would hide half of the room.
  if (matchMedia('(hover: hover)').matches) $('body').focus()
}

function closeRoom() {
  if (!open) return
  const { messages, members, channel, typing } = open
  open = undefined
  for (const part of [messages, members, channel]) part?.close()
  for (const timer of typing.values()) clearTimeout(timer)
  stopEditing()
  upload?.abort()
  for (const list of ['messages', 'members']) $(list).replaceChildren()
  for (const picture of pictures.values()) picture.then(URL.revokeObjectURL, () => {})
  pictures.clear()
  $('typing').textContent = ''
  $('app').classList.remove('open', 'members-shown')
}

/** Follows the newest messages of the room. More of them is the same again with a higher limit: they are live, too. */
async function showMessages(limit) {
  const room = open
  const messages = app.live('messages', {
    where: { room: room.id },
    with: { author: { fields: ['id', 'name', 'handle'] } },
    order: ['-created_at', '-id'],
    limit,
  })
  messages.subscribe(() => room === open && drawMessages())
  messages.onStatus(drawStatus)
  // What is shown stays until there is more to show.
  await messages.ready.catch(() => {})
  room.messages?.close()
  Object.assign(room, { messages, limit })
  if (room === open) drawMessages()
  else messages.close()
}
$('older').addEventListener('click', () => showMessages(open.limit + PAGE))
document.addEventListener('visibilitychange', drawMessages)

const scroll = $('scroll')
let atEnd = true // where one sees what comes, whatever grows above or below

const stay = new ResizeObserver(() => {
  if (atEnd) scroll.scrollTop = scroll.scrollHeight
})
for (const element of [scroll, $('messages')]) stay.observe(element)
scroll.addEventListener('scroll', () => {
  atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80
})

function drawMessages() {
  if (!open?.messages) return
  const { records } = open.messages
  for (const { id } of records) waiting.delete(id)
  $('older').hidden = records.length < open.limit
  const list = $('messages')
  const fromEnd = scroll.scrollHeight - scroll.scrollTop
  // A screen reader says what comes, not what was there before.
  list.ariaLive = list.childElementCount === 0 ? 'off' : 'polite'
  const first = list.firstElementChild?.dataset.id
  const sent = [...records].reverse()
  const own = [...waiting.values()].filter(({ room }) => room === open.id)
  fillList(list, [...sent, ...own], 'message-row', (row) => row.id, fillMessage)
  // Older ones came in above: what one looks at stays where it is.
  if (!atEnd && list.firstElementChild?.dataset.id !== first) scroll.scrollTop = scroll.scrollHeight - fromEnd
  const newest = sent.at(-1)
  if (newest && document.visibilityState === 'visible') localStorage.setItem(readKey(open.id), newest.created_at)
}

function fillMessage(element, message, before) {
  const made = message.created_at ? new Date(message.created_at) : new Date()
  const own = message.author?.id === me.id
  const soon = before?.created_at && made - new Date(before.created_at) < 300_000
  element.classList.toggle('own', own)
  element.classList.toggle('waiting', waiting.has(message.id))
  element.classList.toggle('follows', Boolean(soon && before.author?.id === message.author?.id))
  fillFace(element, message.author)
  element.querySelector('b').textContent = message.author?.name ?? ''
  const time = element.querySelector('time')
  time.dateTime = made.toISOString()
  const day = made.toDateString() === new Date().toDateString() ? {} : { day: 'numeric', month: 'short' }
  time.textContent = made.toLocaleString([], { ...day, hour: '2-digit', minute: '2-digit' })
  element.querySelector('.body').textContent = message.body
  element.querySelector('.note').textContent =
    waiting.get(message.id)?.note ?? (message.updated_at > message.created_at ? 'edited' : '')
  fillAttachment(element.querySelector('figure'), message.attachment)
  element.querySelector('.edit').hidden = !own
  element.querySelector('.edit').onclick = () => edit(message)
  element.querySelector('.delete').hidden = !own && open.owner !== me.id
  element.querySelector('.delete').onclick = () => remove(message)
  // Who goes through the page by keyboard stops where there is something to do.
  element.querySelector('article').tabIndex = own || open.owner === me.id ? 0 : -1
}

async function remove(message) {
  if (!confirm('Delete this message for everybody?')) return
  const { error } = await app.records('messages').remove(message.id).safe()
  showFault($('write'), error)
  if (!error && message.attachment) await files.remove(message.attachment).safe()
}

// ---------------------------------------------------------------- pictures and other files

const pictures = new Map() // name -> the address of its content in this page

function picture(name) {
  if (!pictures.has(name)) pictures.set(name, files.download(name).then((blob) => URL.createObjectURL(blob)))
  return pictures.get(name)
}

function fillAttachment(figure, name) {
  figure.hidden = !name
  if (!name || figure.dataset.name === name) return
  figure.dataset.name = name
  const title = name.split('/').slice(2).join('/')
  const [image, file] = [figure.querySelector('img'), figure.querySelector('button')]
  image.alt = title
  file.textContent = title
  file.onclick = async () => {
    const link = document.createElement('a')
    link.href = await picture(name)
    link.download = title
    link.click()
  }
  if (!/\.(png|jpe?g|gif|webp|avif)$/i.test(name)) return
  image.onload = () => (file.hidden = true)
  picture(name).then((address) => (image.src = address), () => pictures.delete(name))
}

let upload // what stops the one that is under way

async function attach(file) {
  if ($('file').disabled) return
  const room = open.id
  // The same file again, after this page was loaded anew, is the same upload: it goes on where it stood.
  const mark = ['upload', me.id, room, file.name, file.size, file.lastModified].join(':')
  const id = localStorage.getItem(mark) ?? newId()
  localStorage.setItem(mark, id)
  const attachment = `${room}/${id}/${file.name.normalize().replace(/[\\/\p{C}]/gu, '_').slice(-150)}`
  upload = new AbortController()
  $('upload-name').textContent = file.name
  $('progress').value = 0
  $('upload').hidden = false
  $('file').disabled = true
  showFault($('write'), null)
  // Sent in pieces: a line that breaks costs no more than one of them.
  const { error } = await files.upload(attachment, file, {
    signal: upload.signal,
    onProgress: ({ sent, total }) => ($('progress').value = total > 0 ? sent / total : 1),
  }).safe()
  $('upload').hidden = true
  $('file').disabled = false
  if (error?.code === 'aborted') return
  localStorage.removeItem(mark)
  if (error) showFault($('write'), error)
  else post({ id, room, body: editing ? '' : takeBody(), attachment })
}
$('file').addEventListener('change', ({ target }) => {
  if (target.files[0]) attach(target.files[0])
  target.value = ''
})
$('stop-upload').addEventListener('click', () => upload.abort())
$('body').addEventListener('paste', (event) => {
  const [file] = event.clipboardData.files
  if (!file) return
  event.preventDefault()
  attach(file)
})

// ---------------------------------------------------------------- writing

const waiting = new Map() // messages that the live list does not have yet
let posting = false

/** Shows a message at once, and sends it as soon as there is a line. */
function post(message) {
  waiting.set(message.id, { ...message, author: me, note: 'sending…' })
  atEnd = true
  drawMessages()
  postAll()
}

/** One after the other, so that they stay in order. They have ids already: what is sent twice is there once. */
async function postAll() {
  if (posting) return
  posting = true
  for (const message of waiting.values()) {
    if (message.sent) continue
    const { id, room, body, attachment } = message
    const { error } = await app.records('messages').create({ id, room, body, attachment }, { returning: false }).safe()
    if (error && (error.status === 0 || error.status >= 500)) {
      message.note = 'waits for the connection'
      break
    }
    message.sent = true
    if (!error || error.code === '23505') continue
    waiting.delete(id)
    showFault($('write'), error)
  }
  posting = false
  drawMessages()
}

let editing // the message that is being changed

function edit(message) {
  editing = message.id
  $('editing').hidden = false
  $('body').value = message.body
  $('body').focus()
}

function stopEditing() {
  editing = undefined
  $('editing').hidden = true
  $('body').value = ''
}
$('stop-editing').addEventListener('click', stopEditing)

function takeBody() {
  const body = $('body').value.trim()
  $('body').value = ''
  return body
}

onSubmit($('write'), async () => {
  const body = $('body').value.trim()
  if (body === '') return
  if (editing) await app.records('messages').update(editing, { body }).then(stopEditing)
  else post({ id: newId(), room: open.id, body: takeBody(), attachment: null })
})

$('body').addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && editing) stopEditing()
  const last = open.messages?.records.find(({ author }) => author?.id === me.id)
  if (event.key === 'ArrowUp' && event.target.value === '' && last) edit(last)
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
  event.preventDefault()
  $('write').requestSubmit()
})

// ---------------------------------------------------------------- who is here, who is typing

let typed = 0 // when others were last told

$('body').addEventListener('input', () => {
  if (Date.now() - typed < 2000) return
  typed = Date.now()
  open.channel.send('typing', { user: me.id }).safe()
})

const nameOf = (id) => open.members.records.find(({ user }) => user?.id === id)?.user.name

/** What is sent on a channel is a member's word, be it in another's name: only names of members come of it, and nothing else. */
function showTyping(id) {
  clearTimeout(open.typing.get(id))
  if (id !== me.id && nameOf(id)) open.typing.set(id, setTimeout(() => { open.typing.delete(id); drawTyping() }, 4000))
  drawTyping()
}

function drawTyping() {
  const names = [...open.typing.keys()].map(nameOf).filter(Boolean)
  const verb = names.length > 1 ? 'are' : 'is'
  $('typing').textContent = names.length > 0 ? `${names.join(', ')} ${verb} typing…` : ''
}

/** Who is here is their own word, too: nothing depends on it. */
function drawMembers() {
  if (!open) return
  const members = open.members.records.filter(({ user }) => user)
  const present = open.channel.present
  fillList($('members'), members, 'member-row', ({ user }) => user.id, (element, { user }) => {
    element.classList.toggle('present', present.has(user.id))
    fillFace(element, user)
    element.querySelector('b').textContent = user.name
    element.querySelector('small').textContent = `@${user.handle}${present.has(user.id) ? ', here now' : ''}`
    const button = element.querySelector('.remove')
    button.hidden = open.owner !== me.id || user.id === me.id
    button.ariaLabel = `Remove ${user.name}`
    button.onclick = () => app.records('members').remove({ room: open.id, user: user.id }).safe()
  })
  const here = members.filter(({ user }) => present.has(user.id)).length
  $('present-count').textContent = `${here} of ${members.length} here`
}

onSubmit($('invite'), async ({ handle }) => {
  const guest = await app.records('profiles').first({ where: { handle: handle.trim().replace(/^@/, '') } })
  const place = $('invite').querySelector('.fault')
  if (!guest) return void (place.textContent = 'Nobody has this handle.')
  const { error } = await app.records('members').create({ room: open.id, user: guest.id }).safe()
  if (error) place.textContent = error.code === '23505' ? `${guest.name} is here already.` : error.message
  else $('invite').reset()
})

$('leave').addEventListener('click', () => {
  const own = open.owner === me.id
  if (!confirm(own ? 'Delete this room with all its messages?' : 'Leave this room?')) return
  if (own) app.records('rooms').remove(open.id).safe()
  else app.records('members').remove({ room: open.id, user: me.id }).safe()
})

const toggleMembers = (shown) => {
  $('app').classList.toggle('members-shown', shown)
  $('show-members').ariaExpanded = String(shown)
}
$('show-members').addEventListener('click', () => toggleMembers(!$('app').classList.contains('members-shown')))
$('hide-members').addEventListener('click', () => toggleMembers(false))

// ---------------------------------------------------------------- the line

const WORDS = {
  connecting: 'Connecting…',
  offline: 'Offline. What you write is sent when the line is back.',
  catching_up: 'Catching up…',
  closed: 'The connection is closed. Reload the page.',
  live: 'Live',
}

function drawStatus() {
  if (!rooms) return
  const { status } = [open?.messages, rooms].find((live) => live && live.status !== 'live') ?? { status: 'live' }
  $('app').dataset.status = status
  $('status').textContent = WORDS[status]
  if (status === 'live') postAll()
}

// ---------------------------------------------------------------- all is in place: begin

// Who followed the link of a letter comes back here with a code in the address. It is of use where he signed up; elsewhere
// the link has proven his address all the same.
const followed = new URLSearchParams(location.search).has('code')
app.auth.completeRedirect().safe().then(({ data, error }) => {
  showFault($('sign-in'), error)
  if (!followed || data || (error && error.code !== 'bad_code_verifier')) return
  $('sign-in').querySelector('.fault').textContent = 'The link signs in where you signed up. Here, your password does.'
})

// Who runs `basewright dev` on this machine has the people of seed.sql, and the letters that are not sent.
fetch('/_/mail', { method: 'HEAD' }).then(({ ok }) => $('door').classList.toggle('dev', ok), () => {})

app.auth.onChange((_, session) => {
  const id = session?.user.id ?? null
  if (id === user) return
  user = id
  stop()
  if (id === null) return showDoor('sign-in')
  mine = app.live('profiles', { where: { id } })
  mine.subscribe(([profile], status) => {
    if (profile) start(profile)
    else if (status === 'live') showDoor('profile')
  })
})
