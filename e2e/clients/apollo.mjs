// Apollo Client with its cache, set up word for word as docs/clients.md tells: a socket that drops in the middle of an
// answer, twice, costs no event and brings none again.
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { createClient } from 'graphql-ws'
import { map } from 'rxjs'
import WebSocket from 'ws'
import { Events, assembled, chatEvents, ended, isDelta, login, main, say, settings } from './lib.mjs'

main(async () => {
  const account = await login(settings.adminEmail, settings.password)
  const token = () => account.token
  const url = settings.url.replace(/^http/, 'ws') + '/graphql'
  let socket = null
  let sockets = 0
  const on = { opened: (opened) => [socket, sockets] = [opened, sockets + 1] }

  const resume = new ApolloLink((operation, forward) =>
    forward(operation).pipe(map((result) => {
      const event = result.data && Object.values(result.data)[0]
      if (event?.cursor) operation.variables.after = event.cursor
      return result
    })))
  const ws = resume.concat(new GraphQLWsLink(createClient({
    url, connectionParams: () => ({ Authorization: `Bearer ${token()}` }), shouldRetry: () => true, retryAttempts: 100, webSocketImpl: WebSocket, on,
  })))
  const http = new HttpLink({ uri: settings.url + '/graphql', headers: { authorization: `Bearer ${token()}` } })
  const kinds = ['ChatTokenDelta', 'ChatMessageEvent', 'ChatToolEvent', 'ChatGap']
  const client = new ApolloClient({
    link: ApolloLink.split(({ operationType }) => operationType === 'subscription', ws, http),
    cache: new InMemoryCache({ possibleTypes: { Event: kinds, ChatEvent: kinds } }),
  })
  const mutate = async (text, variables) => (await client.mutate({ mutation: gql(text), variables })).data

  const { createChatSession: session } = await mutate('mutation { createChatSession(input: { title: "Resumed" }) { id } }')
  const reading = 'query ($id: ID!) { node(id: $id) { ... on ChatSession { eventCursor messages(first: 10) { edges { node { id content } } } } } }'
  const read = async () => (await client.query({ query: gql(reading), variables: { id: session.id }, fetchPolicy: 'network-only' })).data.node
  const { eventCursor } = await read()

  const events = new Events('chatEvents')
  let drops = 0
  client.subscribe({ query: gql(chatEvents), variables: { sessionId: session.id, after: eventCursor } }).subscribe({
    next({ data, error }) {
      if (error) return events.fail(error)
      events.push(data.chatEvents) // an event without a cursor, or one that comes again, is an error
      if (events.list.length % 10 === 5 && drops < 2) {
        drops++
        socket.terminate() // with no word to the server
      }
    },
    error: (error) => events.fail(error),
    complete: () => events.fail(new Error('the subscription ended')),
  })
  const send = 'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }'
  const { sendMessage } = await mutate(send, { input: { sessionId: session.id, content: 'What is this for? '.repeat(10) } })
  const { id } = sendMessage.reply
  const last = await events.until(ended(id), 'the answer', 60_000)
  assert.equal(last.kind, 'COMPLETED')
  const stored = (await read()).messages.edges.find(({ node }) => node.id === id).node
  assert.equal(assembled(events.list, id).text, stored.content, 'what was streamed is what was stored')
  assert.equal(drops, 2)
  // What a dropped socket had received may hold the rest of a quick answer: the last socket opens when it does.
  for (let i = 0; sockets < 3 && i < 200; i++) await setTimeout(50)
  assert.ok(sockets >= 3, `${sockets} sockets`)
  say(`${events.list.filter(isDelta(id)).length} deltas over ${sockets} sockets`)
})
