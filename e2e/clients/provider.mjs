// A real OpenID Connect provider (npm oidc-provider) with pages of its own. /control changes a person, for the test.
import { Provider } from 'oidc-provider'
import { exportJWK, generateKeyPair } from 'jose'

const { issuer, client, people } = JSON.parse(process.env.PROVIDER_SETTINGS)
const { privateKey } = await generateKeyPair('ES256', { extractable: true })
const provider = new Provider(issuer, {
  clients: [{ ...client, grant_types: ['authorization_code'], response_types: ['code'], id_token_signed_response_alg: 'ES256' }],
  jwks: { keys: [{ ...(await exportJWK(privateKey)), use: 'sig', alg: 'ES256' }] },
  cookies: { keys: [crypto.randomUUID()] },
  scopes: ['openid', 'email', 'profile', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'] },
  pkce: { methods: ['S256'], required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
})

const page = (title, fields) => `<!doctype html><html lang="en"><title>${title}</title><link rel="icon" href="data:,">
<h1>${title}</h1><form method="post">${fields}<button>Continue</button></form></html>`

async function body(req) {
  let text = ''
  for await (const chunk of req) text += chunk
  return text
}

async function decide({ prompt, params, session }, typed) {
  if (prompt.name === 'login') return { login: { accountId: new URLSearchParams(typed).get('login') } }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
  grant.addOIDCScope(params.scope)
  return { consent: { grantId: await grant.save() } }
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/control') {
    const { login, ...claims } = JSON.parse(await body(ctx.req))
    Object.assign(people[login], claims)
    ctx.status = 204
    return
  }
  if (!ctx.path.startsWith('/interaction/')) return next()
  const details = await provider.interactionDetails(ctx.req, ctx.res)
  if (ctx.method === 'POST') {
    const result = await decide(details, await body(ctx.req))
    ctx.respond = false
    return provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true })
  }
  ctx.type = 'html'
  ctx.body = details.prompt.name === 'login' ? page('Who are you?', '<label>Login <input name="login"></label>') : page('Do you allow it?', '')
})

const { hostname, port } = new URL(issuer)
provider.listen(Number(port), hostname)
