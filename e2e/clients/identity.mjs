// Accounts, roles, sessions, API tokens and mailed links by Apollo Client: what the browser and the second factor's
// program do not do.
import assert from 'node:assert/strict'
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client'
import * as e2e from './lib.mjs'

const { settings, say } = e2e
const password = 'the gulls of the harbour wall'
const fresh = 'the lamp of the outer lighthouse'

/** client is an Apollo Client of whoever has the token; without one, of a stranger. */
function client(token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  const apollo = new ApolloClient({
    link: new HttpLink({ uri: settings.url + '/graphql', headers }),
    cache: new InMemoryCache(),
    defaultOptions: { query: { fetchPolicy: 'no-cache' }, mutate: { fetchPolicy: 'no-cache' } },
  })
  return {
    query: async (text, variables) => (await apollo.query({ query: gql(text), variables })).data,
    mutate: async (text, variables) => Object.values((await apollo.mutate({ mutation: gql(text), variables })).data)[0],
  }
}

const refused = (code) => (error) => {
  assert.equal(error.errors?.[0]?.extensions?.code ?? error.result?.errors?.[0]?.extensions?.code, code, error.message)
  return true
}

/** mailed gives the token of the newest mail of a kind to somebody, once it is there. */
const mailed = async (kind, to) => (await e2e.mailed(kind, to)).token

const fields = '{ accessToken refreshToken session { id isCurrent } user { id username } }'
const signIn = (login, word) => client().mutate(`mutation ($in: LoginInput!) { login(input: $in) ${fields} }`, { in: { login, password: word } })

async function accounts(admin) {
  const { id } = await admin.mutate('mutation ($in: CreateUserInput!) { createUser(input: $in) { id } }', { in: { email: 'ada@example.org', username: 'ada', password } })
  const first = await signIn('ada', password)
  const ada = client(first.accessToken)
  await ada.mutate('mutation ($t: String!) { verifyEmail(token: $t) }', { t: await mailed('verify', 'ada@example.org') })
  const change = (who, input) => who.mutate('mutation ($id: ID!, $in: UpdateUserInput!) { updateUser(id: $id, input: $in) { fullName email isVerified } }', { id, in: input })
  assert.equal((await change(ada, { fullName: 'Ada L.' })).isVerified, true)
  await assert.rejects(change(ada, { email: 'lovelace@example.org', password: 'not it at all' }), refused('BAD_USER_INPUT'))
  assert.equal((await change(ada, { email: 'lovelace@example.org', password })).isVerified, false)
  assert.equal(await ada.mutate('mutation { requestEmailVerification }'), true)
  say('an account is made, verified and changed')

  await signIn('ada', password)
  assert.equal(await ada.mutate('mutation { revokeOtherSessions }'), 1)
  const again = await client().mutate(`mutation ($t: String!) { refreshSession(refreshToken: $t) ${fields} }`, { t: first.refreshToken })
  const changed = await client(again.accessToken).mutate(`mutation ($in: ChangePasswordInput!) { changePassword(input: $in) ${fields} }`, {
    in: { currentPassword: password, newPassword: fresh },
  })
  await assert.rejects(client(again.accessToken).query('{ viewer { id } }'), refused('UNAUTHENTICATED'))
  await assert.rejects(signIn('ada', password), refused('UNAUTHENTICATED'))
  say('sessions are listed, ended and outlived by a new password')

  const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
  const who = client(changed.accessToken)
  const token = await who.mutate('mutation ($in: CreateApiTokenInput!) { createApiToken(input: $in) { token session { id } } }', {
    in: { name: 'nightly', permissions: ['documents:read'], expiresAt, password: fresh },
  })
  const program = client(token.token)
  assert.deepEqual((await program.query('{ viewer { permissions } }')).viewer.permissions, ['documents:read'])
  await program.query('{ documents(first: 1) { edges { node { id } } } }')
  await assert.rejects(program.query('{ chatSessions(first: 1) { edges { node { id } } } }'), refused('FORBIDDEN'))
  await assert.rejects(program.mutate('mutation ($in: ChangePasswordInput!) { changePassword(input: $in) { accessToken } }', { in: { currentPassword: fresh, newPassword: password } }), refused('FORBIDDEN'))
  await who.mutate('mutation ($id: ID!) { revokeSession(id: $id) { id } }', { id: token.session.id })
  await assert.rejects(program.query('{ viewer { id } }'), refused('UNAUTHENTICATED'))
  say('a program had what its token allowed, until it was revoked')

  const { rateLimit, sessions } = await who.query('{ rateLimit { limit cost remaining resetAt } sessions(first: 10) { edges { node { kind userAgent ipAddress } } } }')
  assert.ok(rateLimit.cost >= 1 && rateLimit.remaining < rateLimit.limit)
  assert.ok(sessions.edges.every(({ node }) => node.kind === 'API_TOKEN' || node.ipAddress === '127.0.0.1'))
  for (const word of ['wrong guess one', 'wrong guess two', 'wrong guess three', 'wrong guess four', 'wrong guess five', 'wrong guess six']) {
    await assert.rejects(signIn('ada', word), (error) => /UNAUTHENTICATED|RATE_LIMITED/.test(error.errors[0].extensions.code))
  }
  await assert.rejects(signIn('ada', fresh), refused('RATE_LIMITED'))
  await admin.mutate('mutation ($id: ID!) { unlockUser(id: $id) { id lockedUntil } }', { id })
  await signIn('ada', fresh)
  say('guessing made a pause, which an administrator lifted')

  await client().mutate('mutation ($e: String!) { requestPasswordReset(email: $e) }', { e: 'lovelace@example.org' })
  const reset = { token: await mailed('reset', 'lovelace@example.org'), newPassword: password }
  await client().mutate('mutation ($in: ResetPasswordInput!) { resetPassword(input: $in) }', { in: reset })
  await assert.rejects(client().mutate('mutation ($in: ResetPasswordInput!) { resetPassword(input: $in) }', { in: reset }), refused('EXPIRED'))
  say('a mailed link set a new password, once')
  return id
}

async function administration(admin, id) {
  const role = await admin.mutate('mutation ($in: CreateRoleInput!) { createRole(input: $in) { id name } }', { in: { name: 'archivist', permissions: ['documents:read'] } })
  await admin.mutate('mutation ($id: ID!) { updateRole(id: $id, input: { description: "Keeps." }) { description } }', { id: role.id })
  const { permissions } = await admin.mutate('mutation ($id: ID!) { setRolePermissions(roleId: $id, permissions: ["documents:read", "metrics:read"]) { permissions { name } } }', { id: role.id })
  assert.deepEqual(permissions.map(({ name }) => name).sort(), ['documents:read', 'metrics:read'])
  await admin.mutate('mutation ($id: ID!) { assignRole(userId: $id, role: "archivist") { id } }', { id })
  const { accessToken } = await signIn('ada', password)
  const ada = client(accessToken)
  assert.equal((await ada.query('{ viewerCan(resource: "metrics", action: "read") }')).viewerCan, true)
  await assert.rejects(ada.mutate('mutation ($id: ID!) { assignRole(userId: $id, role: "admin") { id } }', { id }), refused('FORBIDDEN'))

  const document = await ada.mutate('mutation { createDocument(input: { title: "Ledger", content: "The ledger of the lighthouse." }) { id } }')
  const simulate = (userId) => admin.query('query ($u: ID!, $n: ID!) { simulateAccess(userId: $u, nodeId: $n) { allowed reasons } }', { u: userId, n: document.id })
  const own = (await simulate(id)).simulateAccess
  assert.ok(own.allowed && own.reasons.length > 0)
  const { id: other } = await admin.mutate('mutation ($in: CreateUserInput!) { createUser(input: $in) { id } }', { in: { email: 'bob@example.org', username: 'bob', password } })
  assert.equal((await simulate(other)).simulateAccess.allowed, false)

  await admin.mutate('mutation ($id: ID!) { unassignRole(userId: $id, role: "archivist") { id } }', { id })
  await e2e.patiently(async () => {
    if ((await ada.query('{ viewerCan(resource: "metrics", action: "read") }')).viewerCan) throw new Error('the right is still there')
  }, 2_000)
  assert.equal(await admin.mutate('mutation ($id: ID!) { deleteRole(id: $id) }', { id: role.id }), role.id)
  say('a role gave a right, and took it along within two seconds')

  await admin.mutate('mutation ($id: ID!) { setUserActive(id: $id, active: false) { isActive } }', { id })
  await assert.rejects(ada.query('{ viewer { id } }'), refused('UNAUTHENTICATED'))
  await admin.mutate('mutation ($id: ID!) { setUserActive(id: $id, active: true) { isActive } }', { id })
  await signIn('ada', password)

  const { invitation } = await admin.mutate('mutation ($in: InviteUserInput!) { inviteUser(input: $in) { token invitation { id email roles } } }', { in: { email: 'eve@example.org' } })
  const { invitations } = await admin.query('{ invitations { id email invitedBy { username } } }')
  assert.equal(invitations.find(({ id }) => id === invitation.id).invitedBy.username, 'admin')
  await admin.mutate('mutation ($id: ID!) { revokeInvitation(id: $id) }', { id: invitation.id })
  assert.deepEqual((await admin.query('{ invitations { id } }')).invitations, [])
  say('deactivated and back; invited and taken back')
}

e2e.main(async () => {
  const admin = client((await signIn(settings.adminEmail, settings.password)).accessToken)
  await administration(admin, await accounts(admin))
  assert.equal(await admin.mutate('mutation { logout }'), true)
  await assert.rejects(admin.query('{ viewer { id } }'), refused('UNAUTHENTICATED'))
})
