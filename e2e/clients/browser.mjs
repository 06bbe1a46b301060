// The playground in a real browser: sign in, run a query, watch a subscription. Nothing may be loaded from elsewhere,
// nothing may fail on the console, and no token may stand in an address.
import assert from 'node:assert/strict'
import { launch } from './chromium.mjs'
import { ask, login, main, request, say, settings } from './lib.mjs'

async function signInAs(page) {
  await page.getByPlaceholder('Username or e-mail').fill(settings.adminEmail)
  await page.getByPlaceholder('Password').fill(settings.password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.locator('#account').waitFor()
  await page.locator('.graphiql-query-editor .view-lines').waitFor()
}

// faint gives the text of ours whose contrast is below 4.5 (WCAG 2.2, 1.4.3).
const faint = (page) =>
  page.evaluate(() => {
    const numbers = (color) => (/^rgba?\(/.test(color) ? color.match(/[\d.]+/g).map(Number) : null)
    const over = ([r, g, b, a = 1], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a))
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
    const found = []
    for (const e of document.querySelectorAll(':is(.bar, .hint, .panel, .walkthrough, .security, .security *, .bar *, .walkthrough *)')) {
      if (![...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || !e.checkVisibility()) continue
      const above = []
      for (let at = e; at; at = at.parentElement) above.unshift(getComputedStyle(at))
      const ground = above.reduce((below, style) => over(numbers(style.backgroundColor), below), [255, 255, 255])
      const [r, g, b, a = 1] = numbers(above.at(-1).color)
      const text = over([r, g, b, a * above.reduce((all, { opacity }) => all * opacity, 1)], ground)
      const [low, high] = [light(text), light(ground)].sort((x, y) => x - y)
      const contrast = (high + 0.05) / (low + 0.05)
      if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${e.textContent}`)
    }
    return found
  })

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
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Account', 'the keyboard goes on in the bar')
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

  const inEditor = () => page.evaluate(() => document.activeElement.closest('.graphiql-query-editor .monaco-editor') !== null)
  for (const leaves of [true, false]) {
    await page.locator('.graphiql-query-editor .view-lines').click()
    await page.keyboard.press('Control+m')
    assert.equal(await inEditor(), true)
    await page.keyboard.press('Tab')
    assert.equal(await inEditor(), !leaves, 'Tab leaves the editor after Ctrl+M, and stays after another')
  }

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

  await page.getByRole('button', { name: 'Ask a question' }).click() // out of order
  await page.getByText('Run “Start a conversation” first.').waitFor()
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

  await page.evaluate(() => {
    const model = (end) => globalThis.__MONACO.editor.getModels().filter((m) => m.uri.path.endsWith(end)).at(-1)
    model('variables.json').setValue(JSON.stringify({ sessionId: '00000000-0000-7000-8000-000000000000' }))
  })
  await page.locator('button.graphiql-execute-button').click() // stops the one that runs
  await page.waitForTimeout(500)
  await run()
  const no = await response((r) => r.errors, 'a refusal')
  assert.deepEqual(no.errors.map(({ message }) => typeof message), ['string'], JSON.stringify(no))
  assert.ok(no.errors[0].extensions.code)

  const choosing = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Upload' }).focus()
  await page.keyboard.press('Enter')
  await (await choosing).setFiles({ name: 'tides.txt', mimeType: 'text/plain', buffer: Buffer.from('The tide turns twice a day.') })
  await page.locator('.bar output').filter({ hasText: 'being indexed' }).waitFor()

  // The server goes away under a subscription, and comes back.
  await page.getByRole('button', { name: 'Watch documents being indexed' }).click()
  await run()
  await page.locator('.socket.open').waitFor()
  assert.deepEqual(wrong, [])
  await ask('kill')
  await page.locator('.socket.waiting', { hasText: 'reconnecting' }).waitFor()
  const away = 'The server cannot be reached.'
  await page.getByRole('button', { name: 'Search documents' }).click()
  await run()
  assert.deepEqual(await response((r) => r.errors, 'that the server is away'), { errors: [{ message: away }] })
  await page.locator('.bar output', { hasText: away }).waitFor()
  await ask('start')
  await page.locator('.bar output', { hasText: away }).waitFor({ state: 'hidden' })
  await run()
  await response((r) => r.data?.searchDocuments, 'what was searched')
  wrong.splice(0, wrong.length, ...wrong.filter((text) => !/ERR_(CONNECTION|EMPTY|SOCKET)/.test(text))) // Chromium puts each attempt on the console
  assert.deepEqual(wrong, [])
  say('the server was away and is back')

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

  // Small pages: the examples begin closed, and code and response have room. Then all text of ours can be read.
  for (const [width, height] of [[390, 844], [800, 600]]) {
    const small = await browser.newPage({ viewport: { width, height } })
    small.setDefaultTimeout(30_000)
    await small.goto(settings.url + '/')
    await signInAs(small)
    const box = (name) => small.locator(name).evaluate((e) => e.getBoundingClientRect().toJSON())
    const hasRoom = async () => {
      for (const name of ['.graphiql-editors', '.graphiql-response']) {
        const { left, right, top, bottom } = await box(name)
        assert.ok(left >= 0 && right <= width && top >= 0 && bottom <= height, `${name} is in view at ${width}`)
        assert.ok(right - left >= 300 && bottom - top >= 280, `${name} is ${right - left} by ${bottom - top} at ${width}`)
      }
    }
    await hasRoom()
    const example = small.getByRole('button', { name: 'Search documents' })
    assert.equal(await example.count(), 0)
    await small.getByRole('button', { name: 'Show Examples' }).click()
    await example.click()
    await example.waitFor({ state: 'detached' })
    await hasRoom()
    await small.getByRole('button', { name: 'Show Examples' }).click()
    await small.getByRole('button', { name: 'Account' }).click()
    await small.getByRole('form', { name: 'Change password' }).waitFor()
    for (const colorScheme of ['light', 'dark']) {
      await small.emulateMedia({ colorScheme })
      assert.deepEqual(await faint(small), [], `text that is hard to read, ${colorScheme}`)
      assert.equal(await small.locator('dialog').evaluate((e) => Number(/\d+/.exec(getComputedStyle(e).backgroundColor)[0]) < 128), colorScheme === 'dark')
    }
    await small.close()
  }
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    assert.deepEqual(await faint(page), [], `text that is hard to read, ${colorScheme}`)
  }
  await browser.close()
  assert.deepEqual(wrong, [])
})
