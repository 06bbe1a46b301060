// The signed-in account of this browser tab. Tokens live in sessionStorage: they end with the tab and are never part
// of an address. A refresh token is good once, so one refresh runs at a time and a duplicated tab gives its copy up.

const key = 'cdsa.session'
const early = 60_000 // ms before its end that an access token is renewed

let current = read()
let refreshing = null
let hasEnded = false // on the server, unasked
const listeners = new Set()

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(key))
  } catch {
    return null
  }
}

function write(next) {
  if (current && next?.id !== current.id) sessionStorage.clear() // variables and ids of the account go with it
  current = next
  if (next) sessionStorage.setItem(key, JSON.stringify(next))
  for (const listener of listeners) listener()
}

export const subscribe = (listener) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** account is {id, username, roles, sessionId, …} of who is signed in, or null. */
export const account = () => current

/** wasEnded tells whether nobody is signed in because the server ended the session. */
export const wasEnded = () => hasEnded

export const fields = `accessToken refreshToken expiresAt session { id } user { id username roles { name } }`

/** post sends one operation over HTTP and gives the whole result; it throws a sentence when there is none. */
export async function post(body, token, signal) {
  const headers = { Accept: 'application/graphql-response+json, application/json;q=0.9' }
  if (token) headers.Authorization = `Bearer ${token}`
  if (body instanceof FormData) headers['GraphQL-Require-Preflight'] = '1'
  else {
    headers['Content-Type'] = 'application/json'
    body = JSON.stringify(body)
  }
  let response, text
  try {
    response = await fetch('/graphql', { method: 'POST', headers, body, signal })
    text = await response.text()
  } catch (error) {
    if (signal?.aborted) throw error
    setReachable(false)
    throw Object.assign(new Error(unreachable), { isUnreachable: true, cause: error })
  }
  setReachable(true)
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`The server answered with status ${response.status} and nothing to read.`)
  }
}

/** unreachable is what to say while isReachable() is false. */
export const unreachable = 'The server cannot be reached.'
let reachable = true
export const isReachable = () => reachable

// setReachable takes what a request found out. An unreachable server is asked for until it is there again.
function setReachable(next) {
  if (next === reachable) return
  reachable = next
  if (!next) probe()
  for (const listener of listeners) listener()
}

const probe = () => setTimeout(() => fetch('/', { method: 'HEAD', cache: 'no-store' }).then(() => setReachable(true), probe), 2000)

// refusal is what the server said, with its code and the state to branch on.
function refusal(result, otherwise) {
  const { message = otherwise, extensions = {} } = result.errors?.[0] ?? {}
  return Object.assign(new Error(message), { code: extensions.code, state: extensions.state })
}

/**
 * postOwn is post as who is signed in, or as nobody. Whether a session was ended elsewhere shows in that it cannot be
 * renewed: then nobody is signed in here either, and it throws.
 */
export async function postOwn(body, signal) {
  const bearer = await token()
  const result = await post(body, bearer, signal)
  if (bearer && result.errors?.[0]?.extensions?.code === 'UNAUTHENTICATED') await token({ renew: true })
  return result
}

const dataOf = (result) => {
  if (result.errors || !result.data) throw refusal(result, 'The server gave no answer.')
  return result.data
}

/** call sends one operation as who is signed in and gives its data; it throws what the server refuses. */
export const call = async (query, variables) => dataOf(await postOwn({ query, variables }))

/** callAsNobody is call for what a mailed link is good for, whoever is signed in, or was until the server ended it. */
export const callAsNobody = async (query, variables) => dataOf(await post({ query, variables }))

// Operations that end the session they are called in by themselves.
const replacing = new Set(['refreshSession', 'changePassword'])

/** authenticate signs in with an operation that gives an AuthPayload. */
export async function authenticate(field, query, variables, bearer) {
  const result = await post({ query, variables }, bearer)
  const payload = result.data?.[field]
  if (!payload) throw refusal(result, 'The server did not sign you in.')
  const { accessToken, refreshToken, expiresAt, session, user } = payload
  if (current && !replacing.has(field)) end(current).catch(() => {}) // it is replaced, and nobody could end it any more
  hasEnded = false
  write({
    accessToken,
    refreshToken,
    expiresAt: Date.parse(expiresAt),
    sessionId: session.id,
    id: user.id,
    username: user.username,
    roles: (user.roles ?? []).map((role) => role.name),
  })
}

export const login = (input) => authenticate('login', `mutation Login($input: LoginInput!) { login(input: $input) { ${fields} } }`, { input })

export const register = (input) =>
  authenticate('register', `mutation Register($input: RegisterInput!) { register(input: $input) { ${fields} } }`, { input })

/** changePassword goes on in the session that the server opens in place of all others. */
export async function changePassword(input) {
  const query = `mutation ChangePassword($input: ChangePasswordInput!) { changePassword(input: $input) { ${fields} } }`
  const bearer = await token()
  const change = authenticate('changePassword', query, { input }, bearer)
  // The socket of the former session is closed before the answer is here: whoever wants to renew waits for it.
  const settled = change.catch(() => {}).finally(() => refreshing === settled && (refreshing = null))
  refreshing = settled
  try {
    await change
  } catch (error) {
    await settled
    if (error.code === 'UNAUTHENTICATED') await token({ renew: true })
    throw error
  }
}

export const requestPasswordReset = (email) =>
  callAsNobody('mutation RequestReset($email: String!) { requestPasswordReset(email: $email) }', { email })

/** token gives an access token that is good for a while, renewed when needed; null when nobody is signed in. */
export async function token({ renew = false } = {}) {
  if (!current) return null
  if (renew || current.expiresAt - Date.now() < early) {
    refreshing ??= refresh().finally(() => (refreshing = null))
    await refreshing
  }
  return current?.accessToken ?? null
}

async function refresh() {
  const query = `mutation Refresh($token: String!) { refreshSession(refreshToken: $token) { ${fields} } }`
  try {
    await authenticate('refreshSession', query, { token: current.refreshToken })
  } catch (error) {
    if (error.code !== 'UNAUTHENTICATED') throw error // the network, or a busy server: the session may still be good
    hasEnded = true
    write(null)
    throw new Error('Your session has ended. Sign in again.', { cause: error })
  }
}

/** recheck sees whether the server still knows the session; nobody is signed in here when it does not. */
export const recheck = () => token({ renew: true }).catch(() => {}) // how that went shows in account()

const end = ({ accessToken }) => post({ query: 'mutation Logout { logout }' }, accessToken)

/** logout ends the session on the server, and here in any case. */
export async function logout() {
  hasEnded = false
  await refreshing?.catch(() => {}) // or what it brings would be kept afterwards
  try {
    if (current) await end(current)
  } finally {
    write(null)
  }
}

/** claim gives up a session that another tab holds: duplicating a tab copies its sessionStorage. */
export async function claim() {
  const channel = new BroadcastChannel('cdsa.session')
  const taken = new Promise((resolve) => {
    channel.onmessage = ({ data }) => data.held && data.held === current?.sessionId && resolve(true)
    setTimeout(resolve, 150, false)
  })
  if (current) channel.postMessage({ asks: current.sessionId })
  if (current && (await taken)) write(null)
  channel.onmessage = ({ data }) => {
    if (data.asks && data.asks === current?.sessionId) channel.postMessage({ held: current.sessionId })
  }
}
