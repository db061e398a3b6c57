// What the server under test talks to: an SMTP server that keeps what it gets. Says its ports in one line of JSON.
import { createServer } from 'node:http'
import { SMTPServer } from 'smtp-server'
import PostalMime from 'postal-mime'

const mails = []
const smtp = new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  logger: false,
  onData(stream, session, done) {
    const parts = []
    stream.on('data', (part) => parts.push(part))
    stream.on('end', () => {
      PostalMime.parse(Buffer.concat(parts)).then((mail) => {
        const text = mail.text ?? ''
        mails.push({
          to: session.envelope.rcptTo.map((to) => to.address),
          from: `${mail.from?.name} <${mail.from?.address}>`,
          subject: mail.subject,
          text,
          html: mail.html ?? '',
          link: text.match(/https?:\/\/\S+\/auth\/v1\/verify\S*/)?.[0],
          code: text.match(/\b\d{6}\b/)?.[0],
        })
        done()
      }, done)
    })
  },
})
// What came to an address, oldest first.
const http = createServer((request, response) => {
  const to = new URL(request.url, 'http://x').searchParams.get('to')
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(mails.filter((mail) => mail.to.includes(to))))
})
smtp.listen(0, '127.0.0.1', () => {
  http.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ smtp: smtp.server.address().port, http: http.address().port }))
  })
})
// Whoever started it has gone.
process.stdin.on('end', () => process.exit()).resume()
