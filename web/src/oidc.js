// Signing in with an OpenID Connect provider: authorization code with PKCE (RFC 7636). The verifier, the state and the
// nonce wait in this tab's sessionStorage for the provider's answer, which is good for one of them, once. Each provider
// has an address of its own to answer to, so that one's answer is never taken for another's (RFC 9700 section 4.4).
import { authenticate, fields, post } from './session.js'

const key = 'cdsa.oidc'
const redirectTo = (provider) => `${location.origin}/oidc/${provider}`

const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)))

/** serverInfo gives how one can sign in here: registration and oidcProviders. */
export async function serverInfo() {
  const { data } = await post({ query: '{ serverInfo { registration oidcProviders { name authorizationUrl } } }' })
  return data?.serverInfo ?? { registration: 'closed', oidcProviders: [] }
}

/** begin leaves the page for the provider's. */
export async function begin({ name, authorizationUrl }) {
  const flow = { provider: name, verifier: random(), state: random(), nonce: random() }
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(flow.verifier))
  sessionStorage.setItem(key, JSON.stringify(flow))
  const url = new URL(authorizationUrl)
  const more = { redirect_uri: redirectTo(flow.provider), state: flow.state, nonce: flow.nonce, code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: 'S256' }
  for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value)
  location.assign(url)
}

/** finish signs in with the provider's answer; it throws a sentence when the answer is not good. */
export async function finish({ at, code, state, iss, error }) {
  const flow = JSON.parse(sessionStorage.getItem(key))
  sessionStorage.removeItem(key)
  if (!flow || flow.state !== state) throw new Error('Nobody began this sign-in in this tab. Begin it again.')
  if (at !== redirectTo(flow.provider)) throw new Error('Another provider answered than the one that was asked. Begin the sign-in again.')
  if (error) throw new Error(error === 'access_denied' ? 'The sign-in was cancelled at the provider.' : 'The provider refused the sign-in. Begin it again.')
  const input = { provider: flow.provider, code, codeVerifier: flow.verifier, redirectUri: at, nonce: flow.nonce, iss }
  await authenticate('exchangeOidcCode', `mutation Exchange($input: ExchangeOidcCodeInput!) { exchangeOidcCode(input: $input) { ${fields} } }`, { input })
}
