// The playground in a real browser: sign in, run a query, watch a subscription. Nothing may be loaded from elsewhere,
// nothing may fail on the console, and no token may stand in an address.
import assert from 'node:assert/strict'
import { launch } from './chromium.mjs'
import { login, main, request, say, settings } from './lib.mjs'

main(async () => {
  const browser = await launch()
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
  page.setDefaultTimeout(30_000)
  const wrong = []
  const watch = (url) => {
    const { protocol, host } = new URL(url)
    if (['data:', 'blob:'].includes(protocol)) return
    if (host !== new URL(settings.url).host) wrong.push(`${url} is elsewhere`)
    if (/eyJ|token=/i.test(url)) wrong.push('a token stands in an address')
  }
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => wrong.push(`uncaught: ${error.message}`))
  page.on('request', (r) => watch(r.url()))
  const sockets = new Set()
  page.on('websocket', (socket) => {
    watch(socket.url())
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  page.on('worker', (worker) => watch(worker.url()))

  await page.goto(settings.url + '/')
  await page.getByText('Sign in to have the schema').waitFor()
  say('the page stands')
  await page.getByPlaceholder('Username or e-mail').fill(settings.adminEmail)
  await page.getByPlaceholder('Password').fill('not the password')
  const signIn = () => page.getByRole('button', { name: 'Sign in' }).click()
  await signIn()
  await page.locator('.bar output').filter({ hasText: /\w{4,}/ }).waitFor()
  await page.getByPlaceholder('Password').fill(settings.password)
  await signIn()
  await page.locator('#account').waitFor()
  say('signed in')

  // The editors are Monaco's, which draws only what is in view: their models have the text.
  const text = (name) =>
    page.evaluate((end) => globalThis.__MONACO.editor.getModels().filter((m) => m.uri.path.endsWith(end)).at(-1).getValue(), name)
  const response = async (fits, what) => {
    const end = Date.now() + 30_000
    for (let got; Date.now() < end; await page.waitForTimeout(50)) {
      got = await text('response.json')
      if (got && fits(JSON.parse(got))) return JSON.parse(got)
      if (Date.now() + 100 > end) assert.fail(`${what} did not come, but: ${got}`)
    }
  }
  const run = () => page.locator('button.graphiql-execute-button').click()
  await page.locator('.graphiql-query-editor .view-lines').waitFor()
  await run()
  const hello = await response((r) => r.data?.viewer, 'the viewer')
  assert.ok(hello.data.viewer.permissions.length > 0)
  say('the query ran')

  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click()
  await page.getByText('Root Types').waitFor() // the schema was fetched
  await page.getByRole('button', { name: 'Show Examples' }).click()

  await page.getByRole('button', { name: 'Watch documents being indexed' }).click()
  await run()
  await page.locator('.socket.open').waitFor()
  await page.waitForTimeout(4000) // longer than an access token lives here
  const admin = await login(settings.adminEmail, settings.password)
  const input = { title: 'Seen in the browser', content: 'The emergency generator of the lighthouse starts when the mains fail.' }
  await request(admin.token, 'mutation ($input: CreateDocumentInput!) { createDocument(input: $input) { id } }', { input })
  const watched = await response((r) => r.events?.some((e) => e.documentEvents?.status === 'INDEXED'), 'INDEXED')
  assert.ok(watched.events.every((e) => e.documentEvents.document.title === input.title))
  say(`the subscription delivered ${watched.received} events`)
  if (settings.screenshot) await page.screenshot({ path: settings.screenshot })

  await page.getByRole('button', { name: 'Start a conversation' }).click()
  await run()
  const { data } = await response((r) => r.data?.createChatSession, 'the conversation')
  await page.getByRole('button', { name: 'Ask a question' }).click()
  assert.equal(JSON.parse(await text('variables.json')).input.sessionId, data.createChatSession.id, 'ids are filled in')
  await run()
  const { data: sent } = await response((r) => r.data?.sendMessage, 'the message')
  await page.getByRole('button', { name: 'Watch the conversation' }).click()
  await run()
  const told = await response((r) => r.events?.some((e) => e.chatEvents.kind === 'COMPLETED'), 'the answer')
  assert.equal(told.events.find((e) => e.chatEvents.kind === 'COMPLETED').chatEvents.message.id, sent.sendMessage.reply.id)
  assert.match(told.answers[0], /generator of the lighthouse/, 'the answer is joined from its deltas')
  say(`asked and answered in ${told.received} events`)

  await page.locator('input[type=file]').setInputFiles({ name: 'tides.txt', mimeType: 'text/plain', buffer: Buffer.from('The tide turns twice a day.') })
  await page.locator('.bar output').filter({ hasText: 'being indexed' }).waitFor()

  // A reload keeps the account, a sign-out ends and forgets everything.
  await page.reload()
  sockets.clear() // a page that is gone tells nothing of its sockets
  await page.locator('#account').waitFor()
  await page.getByRole('button', { name: 'Watch documents being indexed' }).click()
  await run()
  await page.locator('.socket.open').waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByText('Sign in to have the schema').waitFor()
  assert.equal(await page.evaluate(() => JSON.stringify(Object.entries(sessionStorage)).includes('eyJ')), false)
  assert.equal(await page.evaluate(() => localStorage.length), 0)
  for (let tries = 0; sockets.size > 0; tries++) {
    assert.ok(tries < 100, 'the socket outlived the sign-out')
    await page.waitForTimeout(50)
  }
  await browser.close()
  assert.deepEqual(wrong, [])
})
