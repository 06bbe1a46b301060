// The main job, by Apollo Client over real sockets: an analyst asks about a document of some fifty pages, a second
// person approves the tool call, the answer is finished with citations, and an auditor finds every step.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import * as e2e from './lib.mjs'

const { settings, say, ask } = e2e

class Person {
  constructor(account) {
    Object.assign(this, account)
    const http = new HttpLink({ uri: settings.url + '/graphql', headers: { authorization: `Bearer ${this.token}` } })
    const ws = new GraphQLWsLink(e2e.socket(this))
    this.client = new ApolloClient({
      link: ApolloLink.split(({ operationType }) => operationType === 'subscription', ws, http),
      cache: new InMemoryCache(),
      defaultOptions: { query: { fetchPolicy: 'no-cache' }, mutate: { fetchPolicy: 'no-cache' } },
    })
  }

  query = async (text, variables) => (await this.client.query({ query: gql(text), variables })).data
  mutate = async (text, variables) => (await this.client.mutate({ mutation: gql(text), variables })).data

  watch(name, text, variables) {
    const events = new e2e.Events(name)
    this.client.subscribe({ query: gql(text), variables, fetchPolicy: 'no-cache' }).subscribe({
      next: ({ data, error }) => (error ? events.fail(error) : events.push(Object.values(data)[0])),
      error: (error) => events.fail(error),
    })
    return events
  }
}

async function index(analyst, text) {
  const { eventCursor } = await analyst.query('{ eventCursor }')
  const events = analyst.watch(
    'documentEvents',
    'subscription ($after: EventCursor) { documentEvents(after: $after) { cursor at gap status progress document { id chunkCount } } }',
    { after: eventCursor },
  )
  const { id } = await e2e.upload(analyst, 'licences.txt', text)
  const last = await events.until((e) => e.document?.id === id && ['INDEXED', 'FAILED'].includes(e.status), 'INDEXED', 90_000)
  assert.equal(last.status, 'INDEXED')
  assert.ok(last.document.chunkCount > 40, `a text of fifty pages has many passages, not ${last.document.chunkCount}`)
  const progress = events.list.filter((e) => e.document?.id === id).map((e) => e.progress ?? 0)
  assert.deepEqual(progress, progress.toSorted((a, b) => a - b), 'progress never falls')
  const again = await e2e.upload(analyst, 'licences.txt', text)
  assert.equal(again.id, id, 'the same bytes are the same document')
  say(`indexed ${last.document.chunkCount} passages, ${events.list.length} events`)
  return id
}

const isAudited = `query ($after: Cursor, $since: Time!) {
  auditLogs(first: 100, after: $after, where: { createdAtGTE: $since }) {
    pageInfo { hasNextPage endCursor }
    edges { node { action success userId username resourceId toolExecutionId } }
  }
}`

async function audited(auditor, since) {
  const entries = []
  for (let after = null, more = true; more; ) {
    const { auditLogs } = await auditor.query(isAudited, { after, since })
    entries.push(...auditLogs.edges.map((e) => e.node))
    after = auditLogs.pageInfo.endCursor
    more = auditLogs.pageInfo.hasNextPage
  }
  return entries
}

e2e.main(async () => {
  const since = new Date(Date.now() - 1000).toISOString()
  const text = await readFile(settings.document, 'utf8')
  const admin = await e2e.login(settings.adminEmail, settings.password)
  const analyst = new Person(await e2e.colleague(admin, 'analyst', 'analyst'))
  const approver = new Person(await e2e.colleague(admin, 'approver', 'approver'))
  const auditor = new Person(await e2e.colleague(admin, 'auditor', 'auditor'))
  say('three people signed in')

  const documentId = await index(analyst, text)
  const { searchDocuments } = await analyst.query(
    'query ($input: SearchDocumentsInput!) { searchDocuments(input: $input) { hits { rank snippet document { id } } } }',
    { input: { query: settings.question, limit: 5 } },
  )
  assert.ok(searchDocuments.hits.length > 0)
  assert.ok(searchDocuments.hits.every((hit) => hit.document.id === documentId))

  const { createChatSession: session } = await analyst.mutate(
    'mutation { createChatSession(input: { title: "Licences" }) { id eventCursor } }',
  )
  const chat = analyst.watch('chatEvents', e2e.chatEvents, { sessionId: session.id, after: session.eventCursor })
  const { eventCursor } = await approver.query('{ eventCursor }')
  const requests = approver.watch('approvalEvents', e2e.approvalEvents, { after: eventCursor })

  const content = `${settings.question} Then /http_request ${JSON.stringify({ method: 'GET', url: settings.toolUrl + '/tide' })}`
  const { sendMessage } = await analyst.mutate(
    'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { message { id } reply { id status } } }',
    { input: { sessionId: session.id, content } },
  )
  const reply = sendMessage.reply.id
  const waiting = await chat.until(e2e.toolIs('http_request', 'AWAITING_APPROVAL'), 'the call that waits')
  const { id: executionId, argsHash } = waiting.execution
  assert.equal(await ask('hits'), 0, 'nothing ran before the approval')
  say('the call waits for an approval')

  const requested = await requests.until((e) => e.kind === 'REQUESTED' && e.approval.execution?.id === executionId, 'the request')
  assert.equal(requested.approval.argsHash, argsHash)
  const decide = 'mutation ($input: ApproveToolExecutionInput!) { approveToolExecution(input: $input) { id state } }'
  const approvalId = requested.approval.id
  await assert.rejects(e2e.request(analyst.token, decide, { input: { approvalId, argsHash } }), e2e.refused('FORBIDDEN'))
  await assert.rejects(approver.mutate(decide, { input: { approvalId, argsHash: '0'.repeat(64) } }), 'another hash')
  assert.equal(await ask('hits'), 0)
  const { approveToolExecution } = await approver.mutate(decide, { input: { approvalId, argsHash, comment: 'Seen.' } })
  assert.ok(['APPROVED', 'CONSUMED'].includes(approveToolExecution.state))
  await requests.until((e) => e.kind === 'CONSUMED' && e.approval.id === approvalId, 'CONSUMED')
  say('approved and consumed')

  const last = await chat.until(e2e.ended(reply), 'the answer')
  assert.equal(last.kind, 'COMPLETED')
  const { messages, executions } = await e2e.conversation(analyst, session.id)
  const answer = messages.find((m) => m.id === reply)
  const { text: shown } = e2e.assembled(chat.list, reply)
  assert.equal(shown, answer.content, 'what was streamed is what was stored')
  assert.equal(last.message.content, answer.content)
  assert.ok(answer.content.includes(settings.toolBody), 'the answer has what the tool brought')
  assert.ok(answer.citations.length > 0, 'the answer cites')
  assert.ok(answer.citations.every((c) => c.documentId === documentId))
  await e2e.cited(analyst, answer)
  assert.equal(messages.filter((m) => m.role === 'ASSISTANT').length, 1)
  assert.deepEqual(executions.map((e) => e.status), executions.map(() => 'COMPLETED'))
  assert.equal(await ask('hits'), 1, 'the tool ran once')
  say(`answered in ${chat.list.filter(e2e.isDelta(reply)).length} deltas with ${answer.citations.length} citations`)

  // Deciding is not reading: the approver sees neither the conversation nor the document.
  const hidden = await approver.query('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: [session.id, documentId, reply] })
  assert.deepEqual(hidden.nodes, [null, null, null])

  const entries = await audited(auditor, since)
  const has = (action, fits = () => true) => assert.ok(entries.some((e) => e.action === action && fits(e)), `the audit log has ${action}`)
  for (const name of ['analyst', 'approver', 'auditor']) has('LOGIN_SUCCEEDED', (e) => e.username === name)
  for (const action of ['USER_CREATED', 'DOCUMENT_SEARCHED']) has(action)
  for (const action of ['DOCUMENT_UPLOADED', 'DOCUMENT_PROCESSED']) has(action, (e) => e.resourceId === documentId)
  has('CHAT_SESSION_CREATED', (e) => e.resourceId === session.id && e.userId === analyst.id)
  has('CHAT_MESSAGE_SENT', (e) => e.userId === analyst.id)
  const ofCall = (e) => e.toolExecutionId === executionId || e.resourceId === executionId
  for (const action of ['TOOL_EXECUTION_REQUESTED', 'TOOL_EXECUTION_STARTED', 'TOOL_EXECUTION_COMPLETED']) has(action, ofCall)
  const ofRequest = (e) => ofCall(e) || e.resourceId === approvalId
  for (const action of ['APPROVAL_REQUESTED', 'APPROVAL_DECISION_RECORDED', 'APPROVAL_GRANTED', 'APPROVAL_CONSUMED']) has(action, ofRequest)
  has('APPROVAL_GRANTED', (e) => ofRequest(e) && e.userId === approver.id)
  has('PERMISSION_DENIED', (e) => e.userId === analyst.id && !e.success)
  assert.ok((await audited(auditor, since)).some((e) => e.action === 'AUDIT_LOG_VIEWED' && e.userId === auditor.id), 'reading the log is logged')
  say(`the auditor found every step among ${entries.length} entries`)
  await assert.rejects(e2e.request(analyst.token, '{ auditLogs(first: 1) { edges { node { id } } } }'), e2e.refused('FORBIDDEN'))
})
