// The main job while the server is killed three times: in the middle of an answer, between an approval and the call it
// allows, and while that call is under way. The client only has what a browser has: it reconnects and goes on after the last event it saw.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import * as e2e from './lib.mjs'

const { settings, say, ask } = e2e
const send = 'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }'
const decide = 'mutation ($input: ApproveToolExecutionInput!) { approveToolExecution(input: $input) { state } }'

async function begin(analyst, name) {
  const { createChatSession: session } = await e2e.request(
    analyst.token,
    'mutation ($title: String) { createChatSession(input: { title: $title }) { id eventCursor } }',
    { title: name },
  )
  const connects = { count: 0 }
  const client = e2e.socket(analyst, { connected: () => connects.count++ })
  const chat = e2e.watch(client, name, e2e.chatEvents, { sessionId: session.id, after: session.eventCursor })
  return { id: session.id, chat, connects }
}

const ask_ = async (who, sessionId, content) => (await e2e.request(who.token, send, { input: { sessionId, content } })).sendMessage.reply.id

// once holds what a client may rely on: one answer, complete, the same on the screen as in the database.
async function once(analyst, session, reply, status = 'COMPLETED') {
  const last = await session.chat.until(e2e.ended(reply), 'the end of the answer', 60_000)
  assert.equal(last.kind, status)
  const { messages, executions } = await e2e.conversation(analyst, session.id)
  assert.equal(session.chat.list.filter(e2e.ended(reply)).length, 1, 'it ends once')
  const answers = messages.filter((m) => m.role === 'ASSISTANT')
  assert.equal(answers.length, 1, 'one answer')
  const { text, attempt } = e2e.assembled(session.chat.list, reply)
  assert.equal(text, answers[0].content, 'what was streamed is what was stored')
  assert.equal(attempt, answers[0].attempt)
  assert.ok(session.connects.count >= 2, 'the client reconnected')
  return { answer: answers[0], executions }
}

async function duringAnswer(analyst) {
  const session = await begin(analyst, 'during an answer')
  const reply = await ask_(analyst, session.id, settings.question)
  const deltas = () => session.chat.list.filter(e2e.isDelta(reply)).length
  await session.chat.until(() => deltas() >= 5, 'the beginning of the answer')
  const before = deltas()
  say(`killing the server after ${before} deltas`)
  await ask('kill')
  const back = Date.now()
  assert.equal(session.chat.list.filter(e2e.ended(reply)).length, 0, 'it was killed in the middle')
  await session.chat.until((e) => e.kind === 'STARTED' && e.message.attempt > 1, 'another attempt', 10_000)
  say(`taken up again ${Date.now() - back} ms after the restart`)
  const { answer } = await once(analyst, session, reply)
  assert.ok(answer.attempt >= 2, 'another attempt')
  assert.ok(answer.citations.length > 0)
  await e2e.cited(analyst, answer)
  say(`attempt ${answer.attempt} finished it: ${answer.content.length} characters`)
}

async function approved(analyst, approver, session, path) {
  const reply = await ask_(analyst, session.id, `/http_request ${JSON.stringify({ method: 'GET', url: settings.toolUrl + path })}`)
  const { execution } = await session.chat.until(e2e.toolIs('http_request', 'AWAITING_APPROVAL'), 'the call that waits')
  const { approveToolExecution } = await e2e.request(approver.token, decide, {
    input: { approvalId: execution.approvalId, argsHash: execution.argsHash },
  })
  return { reply, approveToolExecution }
}

async function afterApproval(analyst, approver) {
  const session = await begin(analyst, 'after an approval')
  const { reply, approveToolExecution } = await approved(analyst, approver, session, '/tide')
  const killed = ask('kill')
  say(`${approveToolExecution.state}, killing the server`)
  await killed
  const { answer, executions } = await once(analyst, session, reply)
  const [call] = executions.filter((e) => e.tool.name === 'http_request')
  const hits = await ask('hits')
  assert.ok(hits <= 1, `the tool was called ${hits} times`)
  assert.ok(['COMPLETED', 'FAILED'].includes(call.status), call.status)
  assert.equal(executions.length, 1, 'no second call was made of the one approval')
  if (call.status === 'COMPLETED') assert.ok(hits === 1 && answer.content.includes(settings.toolBody))
  else assert.equal(call.errorCode, 'WORKER_LOST')
  say(`the call ended ${call.status} after ${hits} request(s)`)
}

// A call that was under way when its worker died may have done its work: it is never made again, and the answer says so.
async function duringCall(analyst, approver) {
  const session = await begin(analyst, 'during a call')
  const { reply } = await approved(analyst, approver, session, '/slow')
  await ask('called')
  await ask('kill')
  const { answer, executions } = await once(analyst, session, reply)
  assert.deepEqual(executions.map((e) => [e.status, e.errorCode]), [['FAILED', 'WORKER_LOST']])
  assert.equal(await ask('slowHits'), 1, 'the tool was called once')
  assert.ok(answer.content.includes('http_request failed'), answer.content)
  say('the lost call was not repeated')
}

e2e.main(async () => {
  const admin = await e2e.login(settings.adminEmail, settings.password)
  const analyst = await e2e.colleague(admin, 'analyst', 'analyst')
  const approver = await e2e.colleague(admin, 'approver', 'approver')
  const events = e2e.watch(e2e.socket(analyst), 'documentEvents', 'subscription ($after: EventCursor) { documentEvents(after: $after) { cursor status document { id } } }', {
    after: (await e2e.request(analyst.token, '{ eventCursor }')).eventCursor,
  })
  await e2e.upload(analyst, 'licences.txt', await readFile(settings.document, 'utf8'))
  await events.until((e) => e.status === 'INDEXED', 'INDEXED', 90_000)
  say('indexed')
  await duringAnswer(analyst)
  await afterApproval(analyst, approver)
  await duringCall(analyst, approver)
})
