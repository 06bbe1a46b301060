// What the client programs share: the conversation with the Go test that started them, GraphQL over fetch, events
// collected from a subscription, and the rules every client of chatEvents relies on.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'

/** settings the Go test passed: url, and what the program needs beside it. */
export const settings = JSON.parse(process.env.E2E_SETTINGS)

const begun = Date.now()
/** say prints progress; the Go test shows it. */
export const say = (text) => console.error(`${((Date.now() - begun) / 1000).toFixed(1).padStart(5)} s  ${text}`)

const answers = new Map()
let asked = 0
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const { id, value } = JSON.parse(line)
  answers.get(id)?.(value)
  answers.delete(id)
})
/** ask has the Go test do something and gives what it answers. */
export function ask(name, data = null) {
  const id = ++asked
  const answer = new Promise((resolve) => answers.set(id, resolve))
  process.stdout.write(JSON.stringify({ id, name, data }) + '\n')
  return answer
}

/** main runs the program and ends it: sockets would keep it alive. */
export function main(run) {
  run().then(
    () => process.exit(0),
    (error) => {
      console.error(error)
      process.exit(1)
    },
  )
}

/** Problem is what the server refused, with its code. */
export class Problem extends Error {
  constructor(errors) {
    super(errors.map(({ message, extensions }) => `${extensions?.code}: ${message}`).join('; '))
    this.code = errors[0].extensions?.code
    this.state = errors[0].extensions?.state
  }
}

/** request sends one operation and gives its data. */
export async function request(token, query, variables = {}) {
  const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' }
  if (token) headers.authorization = `Bearer ${token}`
  const response = await fetch(settings.url + '/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }) })
  const { data, errors } = await response.json()
  if (errors) throw new Problem(errors)
  return data
}

/** patiently repeats a read while the server is away. */
export async function patiently(run, limit = 30_000) {
  const end = Date.now() + limit
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if (error instanceof Problem || error instanceof assert.AssertionError || Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

/** login signs in; factor is a totpCode or recoveryCode where the account has a second factor. */
export async function login(name, password, factor = {}) {
  const { login } = await request(null, `mutation ($input: LoginInput!) { login(input: $input) { accessToken user { id } } }`, {
    input: { login: name, password, ...factor },
  })
  return { token: login.accessToken, id: login.user.id, name }
}

/** colleague is made by the administrator, with one role, and signs in. */
export async function colleague(admin, name, role) {
  const password = settings.password
  await request(admin.token, `mutation ($input: CreateUserInput!) { createUser(input: $input) { id } }`, {
    input: { email: `${name}@example.org`, username: name, password, roles: [role] },
  })
  return login(name, password)
}

/** mailed gives the link of the newest mail of a kind that somebody has got, and its token, once it is there. */
export const mailed = (kind, to) =>
  patiently(async () => {
    const names = (await readdir(settings.mails)).filter((name) => name.endsWith('.eml') && name.includes(`-${kind}-`))
    for (const name of names.sort().reverse()) {
      const text = await readFile(join(settings.mails, name), 'utf8') // as a developer reads it: links are whole
      const [, link, token] = new RegExp(`(http\\S+#${kind}=(\\S+))`).exec(text) ?? []
      if (link && text.includes(to)) return { link, token }
    }
    throw new Error(`no ${kind} mail for ${to} yet`)
  })

export const refused = (code) => (error) => {
  assert.equal(error.code, code, error.message)
  return true
}

export async function upload(who, name, text) {
  const form = new FormData()
  const query = `mutation ($input: UploadDocumentInput!) { uploadDocument(input: $input) { id status } }`
  form.append('operations', JSON.stringify({ query, variables: { input: { file: null, title: name } } }))
  form.append('map', JSON.stringify({ 0: ['variables.input.file'] }))
  form.append('0', new Blob([text], { type: 'text/plain' }), name)
  const headers = { authorization: `Bearer ${who.token}`, 'graphql-require-preflight': '1' }
  const response = await fetch(settings.url + '/graphql', { method: 'POST', headers, body: form })
  const { data, errors } = await response.json()
  if (errors) throw new Problem(errors)
  return data.uploadDocument
}

/** socket is a graphql-ws client that comes back for as long as it is asked to. */
export const socket = (who, on = {}) =>
  createClient({
    url: settings.url.replace(/^http/, 'ws') + '/graphql',
    webSocketImpl: WebSocket,
    connectionParams: { Authorization: `Bearer ${who.token}` },
    retryAttempts: 1000,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
    shouldRetry: () => true,
    on,
  })

/** Events of one subscription, in the order they came. A cursor that comes twice is an error. */
export class Events {
  constructor(name) {
    this.name = name
    this.list = []
    this.seen = new Set()
    this.waiting = new Set()
  }

  push(event) {
    assert.ok(event.cursor, `${this.name}: an event without a cursor`)
    assert.ok(!this.seen.has(event.cursor), `${this.name}: the same event twice`)
    this.seen.add(event.cursor)
    this.list.push(event)
    for (const look of this.waiting) look()
  }

  fail(error) {
    this.error = error instanceof Error ? error : new Error(`${this.name}: ${JSON.stringify(error?.reason ?? error)}`)
    for (const look of this.waiting) look()
  }

  /** until gives the first event that fits, of those already here or to come. */
  until(fits, what, limit = 30_000) {
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        clearTimeout(timer)
        this.waiting.delete(look)
        settle(value)
      }
      const timer = setTimeout(() => {
        const got = this.list.map((e) => e.kind ?? e.status ?? e.execution?.status ?? e.__typename).join(' ')
        end(reject, new Error(`${this.name}: ${what} did not come within ${limit} ms, but: ${got}`))
      }, limit)
      const look = () => {
        const found = this.list.find(fits)
        if (found) end(resolve, found)
        else if (this.error) end(reject, this.error)
      }
      this.waiting.add(look)
      look()
    })
  }
}

/** watch subscribes over graphql-ws and goes on after the last event when the connection comes back. */
export function watch(client, name, query, variables) {
  const events = new Events(name)
  const payload = { query, variables }
  client.subscribe(payload, {
    next({ data, errors }) {
      if (errors) return events.fail(new Problem(errors))
      const [event] = Object.values(data)
      payload.variables = { ...payload.variables, after: event.cursor } // sent again with the payload
      events.push(event)
    },
    error: (error) => events.fail(Array.isArray(error) ? new Problem(error) : error),
    complete: () => events.fail(new Error(`${name}: the server ended the subscription`)),
  })
  return events
}

export const chatEvents = `subscription ($sessionId: ID!, $after: EventCursor) {
  chatEvents(sessionId: $sessionId, after: $after) {
    __typename
    ... on Event { cursor at }
    ... on ChatTokenDelta { messageId attempt offset text }
    ... on ChatMessageEvent { kind message { id role status attempt content } }
    ... on ChatToolEvent { execution { id status argsHash approvalId tool { name } } approval { id state } }
    ... on ChatGap { reason }
  }
}`

export const approvalEvents = `subscription ($after: EventCursor) {
  approvalEvents(after: $after) { cursor at kind gap approval { id argsHash state execution { id status tool { name } } } }
}`

export const isDelta = (id) => (e) => e.__typename === 'ChatTokenDelta' && e.messageId === id
export const ended = (id) => (e) => e.__typename === 'ChatMessageEvent' && e.message.id === id && ['COMPLETED', 'FAILED', 'CANCELLED'].includes(e.kind)
export const toolIs = (tool, ...status) => (e) => e.__typename === 'ChatToolEvent' && e.execution.tool.name === tool && status.includes(e.execution.status)

/**
 * assembled joins the deltas of the last attempt. It holds the promises of the stream: STARTED before the deltas of an
 * attempt, attempts that rise, deltas that follow each other without a gap in UTF-16 units.
 */
export function assembled(list, id) {
  let attempt = 0
  let text = ''
  for (const event of list) {
    assert.notEqual(event.__typename, 'ChatGap', 'events were left out')
    if (event.__typename === 'ChatMessageEvent' && event.message.id === id && event.kind === 'STARTED') {
      assert.ok(event.message.attempt > attempt, 'attempts rise')
      attempt = event.message.attempt
      text = ''
    }
    if (!isDelta(id)(event)) continue
    assert.equal(event.attempt, attempt, 'a delta belongs to the attempt that was started')
    assert.equal(event.offset, text.length, 'a delta follows the one before')
    text += event.text
  }
  return { attempt, text }
}

/** cited checks that every quote stands in its document where the citation says. Offsets count code points. */
export async function cited(who, message) {
  for (const { documentId, start, end, quote } of message.citations) {
    const { node } = await request(who.token, `query ($id: ID!) { node(id: $id) { ... on Document { content } } }`, { id: documentId })
    assert.equal([...node.content].slice(start, end).join(''), quote, 'the quote stands where the citation says')
    assert.ok(message.content.includes(quote), 'the answer has the quote')
  }
}

export const conversation = async (who, sessionId) => {
  const query = `query ($id: ID!) { node(id: $id) { ... on ChatSession {
    messages(first: 100) { edges { node { id role status attempt content parentId citations { documentId start end quote } } } }
    toolExecutions(first: 100) { edges { node { id status errorCode tool { name } } } } } } }`
  const { node } = await patiently(() => request(who.token, query, { id: sessionId }))
  return { messages: node.messages.edges.map((e) => e.node), executions: node.toolExecutions.edges.map((e) => e.node) }
}
