// An OpenID provider as npm has it, with a few accounts and nobody who has to click. Says where it is in one line of JSON.
import { createServer } from 'node:http'
import Provider, { interactionPolicy } from 'oidc-provider'

const CALLBACK = process.env.BW_CALLBACK
const accounts = {
  ada: { email: 'ada@example.test', email_verified: true, name: 'Ada' },
  bob: { email: 'bob@example.test', email_verified: false, name: 'Bob' },
}

// `login_hint` says who sits before the screen.
const policy = interactionPolicy.base()
const server = createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        redirect_uris: [CALLBACK],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
      {
        client_id: 'confidential app',
        client_secret: 'not so secret: 100% a+b',
        redirect_uris: [CALLBACK],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
    interactions: { policy, url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ['a key of the tests'] },
  })
  const callback = provider.callback()
  server.on('request', async (request, response) => {
    if (!request.url.startsWith('/interaction/')) return callback(request, response)
    const { prompt, params } = await provider.interactionDetails(request, response)
    const accountId = params.login_hint
    if (prompt.name === 'login') {
      return provider.interactionFinished(request, response, { login: { accountId } })
    }
    const grant = new provider.Grant({ accountId, clientId: params.client_id })
    grant.addOIDCScope(params.scope)
    const grantId = await grant.save()
    return provider.interactionFinished(request, response, { consent: { grantId } })
  })
  console.log(JSON.stringify({ issuer }))
})
// Whoever started it has gone.
process.stdin.on('end', () => process.exit()).resume()
