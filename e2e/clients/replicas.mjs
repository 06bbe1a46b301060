// Two servers, one conversation: what is done at one is seen at the other, and an answer outlives the server that
// was writing it.
import assert from 'node:assert/strict'
import * as e2e from './lib.mjs'

const { settings, say, ask } = e2e

e2e.main(async () => {
  const admin = await e2e.login(settings.adminEmail, settings.password)
  const analyst = await e2e.colleague(admin, 'analyst', 'analyst')
  const approver = await e2e.colleague(admin, 'approver', 'approver')
  const first = settings.url
  const at = (url, who, query, variables) => {
    settings.url = url
    return e2e.request(who.token, query, variables)
  }
  const second = settings.otherUrl
  const { createChatSession: session } = await at(first, analyst, 'mutation { createChatSession(input: {}) { id eventCursor } }')
  const { eventCursor } = await at(second, approver, '{ eventCursor }')

  settings.url = second
  const chat = e2e.watch(e2e.socket(analyst), 'chatEvents', e2e.chatEvents, { sessionId: session.id, after: session.eventCursor })
  const requests = e2e.watch(e2e.socket(approver), 'approvalEvents', e2e.approvalEvents, { after: eventCursor })
  const send = 'mutation ($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }'
  const say_ = async (content) => (await at(first, analyst, send, { input: { sessionId: session.id, content } })).sendMessage.reply.id

  const reply = await say_(`/http_request ${JSON.stringify({ method: 'GET', url: settings.toolUrl + '/tide' })}`)
  const { approval } = await requests.until((e) => e.kind === 'REQUESTED', 'the request')
  await at(second, approver, 'mutation ($input: ApproveToolExecutionInput!) { approveToolExecution(input: $input) { state } }', {
    input: { approvalId: approval.id, argsHash: approval.argsHash },
  })
  const last = await chat.until(e2e.ended(reply), 'the answer')
  assert.equal(last.kind, 'COMPLETED')
  assert.equal(e2e.assembled(chat.list, reply).text, last.message.content)
  assert.equal(await ask('hits'), 1)
  say('asked at one, approved and read at the other')

  // Which of the two writes is chance: kill one during several answers, so that it is likely to have had some in hand.
  const sessions = []
  for (let n = 0; n < 6; n++) {
    const { createChatSession } = await at(first, analyst, 'mutation { createChatSession(input: {}) { id eventCursor } }')
    settings.url = second
    const events = e2e.watch(e2e.socket(analyst), `answer ${n}`, e2e.chatEvents, { sessionId: createChatSession.id, after: createChatSession.eventCursor })
    const { sendMessage } = await at(n % 2 ? first : second, analyst, send, { input: { sessionId: createChatSession.id, content: 'Good morning! Who are you and what can you do?' } })
    sessions.push({ events, id: createChatSession.id, reply: sendMessage.reply.id })
  }
  await Promise.all(sessions.map(({ events, reply }) => events.until(e2e.isDelta(reply), 'the beginning')))
  await ask('killFirst')
  say('one of the two is dead')
  settings.url = second
  const attempts = []
  for (const { events, id, reply } of sessions) {
    const end = await events.until(e2e.ended(reply), 'the answer', 30_000)
    assert.equal(end.kind, 'COMPLETED')
    const { text, attempt } = e2e.assembled(events.list, reply)
    const { messages } = await e2e.conversation(analyst, id)
    assert.deepEqual(messages.filter((m) => m.role === 'ASSISTANT').map((m) => m.content), [text])
    assert.equal(events.list.filter(e2e.ended(reply)).length, 1)
    attempts.push(attempt)
  }
  say(`six answers, each once and whole; attempts ${attempts.join(' ')}`)
})
