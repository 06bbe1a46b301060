// Server-sent events by the graphql-sse client: a stream that breaks off after any event goes on after it with
// Last-Event-ID, without a gap and without anything twice.
import assert from 'node:assert/strict'
import { createClient } from 'graphql-sse'
import { login, main, request, say, settings } from './lib.mjs'

const query = 'subscription ($after: EventCursor) { documentEvents(after: $after) { cursor status document { id } } }'

// read takes count events and breaks off.
async function read(who, after, lastEventId, count) {
  const headers = { authorization: `Bearer ${who.token}` }
  if (lastEventId) headers['last-event-id'] = lastEventId
  const client = createClient({ url: settings.url + '/graphql', headers, retryAttempts: 0 })
  const events = []
  const timer = setTimeout(() => client.dispose(), 30_000)
  for await (const { data, errors } of client.iterate({ query, variables: { after } })) {
    assert.equal(errors, undefined)
    events.push(data.documentEvents)
    if (events.length === count) break
  }
  clearTimeout(timer)
  client.dispose()
  assert.equal(events.length, count, `${count} events`)
  return events
}

main(async () => {
  const who = await login(settings.adminEmail, settings.password)
  const { eventCursor } = await request(who.token, '{ eventCursor }')
  const add = (n) =>
    request(who.token, 'mutation ($input: CreateDocumentInput!) { createDocument(input: $input) { id } }', {
      input: { title: `Note ${n}`, content: `Note number ${n} says that the answer is ${n * n}.` },
    })
  const first = (await add(1)).createDocument.id
  const all = []
  for (let last = null; !all.some((e) => e.document?.id === first && e.status === 'INDEXED'); last = all.at(-1).cursor) {
    all.push(...(await read(who, eventCursor, last, 1))) // a new connection for every event
  }
  assert.equal(new Set(all.map((e) => e.cursor)).size, all.length, 'nothing twice')
  const whole = await read(who, eventCursor, null, all.length)
  assert.deepEqual(all, whole, 'in pieces as in one')
  say(`${all.length} events by ${all.length} connections`)

  const next = read(who, eventCursor, all.at(-1).cursor, 1)
  const second = (await add(2)).createDocument.id
  assert.equal((await next)[0].document.id, second, 'Last-Event-ID has the say over the variable')
})
