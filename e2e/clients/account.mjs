// One's own account in a real browser: register, enrol a second factor, sign in with it, end another session, step up,
// reset the password by mail, and come by invitation. What is secret stands in no address and is stored nowhere.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import * as OTPAuth from 'otpauth'
import { launch } from './chromium.mjs'
import { login, mailed as linkMailed, main, patiently, refused, request, say, settings } from './lib.mjs'

const home = settings.url + '/'
const ada = { email: 'ada@example.org', name: 'ada', password: 'the gulls of the harbour wall' }
const changedPassword = 'the gulls of the harbour buoy'
const newPassword = 'the gulls of the harbour mole'
const guest = { email: 'guest@example.org', name: 'guest', password: 'the gulls of the harbour light' }
const heir = { email: 'heir@example.org', name: 'heir', password: 'the gulls of the harbour bell' }
const secrets = new Set([ada.password, changedPassword, newPassword, guest.password, heir.password, settings.password, 'eyJ', 'cdsa_'])

const wrong = []
const addresses = []
let browser

// open gives a page of a browser that knows nothing yet.
async function open(address) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => wrong.push(`uncaught: ${error.message}`))
  page.on('websocket', (socket) => addresses.push(socket.url()))
  page.on('request', (r) => {
    if (/^(data|blob):/.test(r.url())) return
    addresses.push(r.url().replace(/#.*/, ''), r.headers().referer ?? '') // the fragment of a mailed link is not sent
  })
  await page.goto(address)
  return page
}

// The browser is used as people do: by what stands on a button or beside a field.
const press = (within, name) => within.getByRole('button', { name, exact: true }).click()
const fill = (within, label, text) => within.getByLabel(label, { exact: true }).fill(text)
const form = (page, name) => page.getByRole('form', { name, exact: true })
const told = (within, text) => within.locator('output').filter({ hasText: text }).first().waitFor()
const picture = (page, name) => settings.pictures && page.screenshot({ path: join(settings.pictures, name + '.png') })

async function signIn(page, password) {
  const fields = form(page, 'Sign in')
  await fill(fields, 'Username or e-mail', ada.name)
  await fill(fields, 'Password', password)
  await press(fields, 'Sign in')
  return fields
}

async function signOut(page) {
  await press(page, 'Sign out')
  await form(page, 'Sign in').waitFor()
}

// signedIn waits for who it is and sees that nothing secret is left where it could be read later.
async function signedIn(page, name) {
  await page.locator('#account').filter({ hasText: name }).waitFor()
  assert.equal(page.url(), home)
  await forgotten(page)
}

async function forgotten(page) {
  const kept = await page.evaluate(() => {
    const { 'cdsa.session': _, ...rest } = { ...sessionStorage } // the tokens, which end with the tab
    return JSON.stringify([rest, { ...localStorage }, document.cookie, navigation.entries().map(({ url }) => url)])
  })
  for (const secret of secrets) assert.ok(!kept.includes(secret), 'a secret is stored or stands in the history')
}

// Codes are good once, and one step early or late: code gives the first that was not used, and waits for its time.
const period = 30_000
let used = 0
async function code(totp) {
  const step = () => Math.floor(Date.now() / period)
  const isLate = () => period - (Date.now() % period) < 6_000 // it could be too old when it comes
  while (isLate() || step() < used) await new Promise((resolve) => setTimeout(resolve, 100))
  used = Math.max(used + 1, step() - 1)
  const made = totp.generate({ timestamp: used * period })
  secrets.add(made)
  return made
}

// mailed gives the link of the mail of a kind that somebody has got.
const mailed = async (kind, to) => {
  const { link, token } = await linkMailed(kind, to)
  secrets.add(token)
  assert.ok(link.startsWith(`${home}#`), link)
  return link
}

const viewer = (token) => request(token, '{ viewer { username sessions(first: 10, where: { isActive: true }) { edges { node { isCurrent mfaAt } } } } }')

main(async () => {
  browser = await launch()
  const page = await open(home)

  await press(page, 'Create an account')
  const joining = form(page, 'Register')
  await fill(joining, 'E-mail', ada.email)
  await fill(joining, 'Username', ada.name)
  await fill(joining, 'Password', ada.password)
  await press(joining, 'Register')
  await signedIn(page, ada.name)
  await signOut(page)
  await signIn(page, ada.password)
  await signedIn(page, ada.name)
  const early = await login(ada.name, ada.password)
  say('registered, signed out and signed in')

  await press(page, 'Account')
  const panel = page.getByRole('dialog', { name: 'Account' })
  const setUp = form(panel, 'Set up')
  await fill(setUp, 'Your password', 'not the password')
  await press(setUp, 'Set up')
  await told(panel, /\w{4,}/)
  await fill(setUp, 'Your password', ada.password)
  await press(setUp, 'Set up')
  const shown = panel.locator('code')
  await shown.waitFor()
  const secret = (await shown.textContent()).replaceAll(' ', '')
  secrets.add(secret)
  const totp = new OTPAuth.TOTP({ secret: OTPAuth.Secret.fromBase32(secret) })
  assert.ok(await panel.getByAltText(/QR code/).evaluate((image) => image.decode().then(() => image.naturalWidth === image.width)), 'the QR code is drawn, pixel by pixel')
  await picture(page, 'enrolment')
  const confirm = form(panel, 'Confirm')
  await fill(confirm, 'Code', 'nothing')
  await press(confirm, 'Confirm')
  await told(panel, /\w{4,}/)
  await fill(confirm, 'Code', await code(totp))
  await press(confirm, 'Confirm')
  await told(panel, 'The second factor is on.')
  await assert.rejects(viewer(early.token), refused('UNAUTHENTICATED')) // opened by the password alone
  const recovery = (await panel.locator('#recovery').textContent()).trim().split('\n')
  assert.equal(new Set(recovery).size, 10)
  for (const each of recovery) secrets.add(each)
  await picture(page, 'account')
  await press(panel, 'Close')
  await press(page, 'Account')
  await form(panel, 'Step up').waitFor()
  assert.equal(await panel.locator('#recovery').count(), 0, 'recovery codes are shown once')
  await press(panel, 'Close')
  await forgotten(page)
  say('enrolled')

  await signOut(page)
  const prompt = await signIn(page, ada.password)
  await prompt.getByLabel('Code or recovery code').waitFor()
  const asks = await page.locator('.bar output').textContent()
  assert.match(asks, /code/i)
  assert.doesNotMatch(asks, /totpCode|recoveryCode/, 'it speaks to people')
  assert.equal(await page.evaluate(() => document.activeElement.name), 'code')
  await picture(page, 'code')
  await fill(prompt, 'Code or recovery code', totp.generate({ timestamp: Date.now() - 20 * period }))
  await press(prompt, 'Sign in')
  await told(page, 'The code is wrong')
  await picture(page, 'wrong-code')
  await fill(prompt, 'Code or recovery code', await code(totp))
  await press(prompt, 'Sign in')
  await signedIn(page, ada.name)
  const other = await login(ada.name, ada.password, { recoveryCode: recovery[5] })
  say('signed in with a code')

  await press(page, 'Account')
  const sessions = panel.getByRole('region', { name: 'Sessions' }).getByRole('listitem')
  await sessions.first().waitFor()
  assert.equal(await sessions.count(), 2)
  assert.equal(await sessions.filter({ hasText: 'this session' }).count(), 1)
  await picture(page, 'sessions')
  await viewer(other.token)
  await press(sessions.filter({ hasNotText: 'this session' }), 'Revoke')
  await told(panel, 'The session is ended.')
  assert.equal(await sessions.count(), 1)
  await assert.rejects(viewer(other.token), refused('UNAUTHENTICATED'))
  say('the other session is revoked')

  const bearer = await page.evaluate(() => JSON.parse(sessionStorage.getItem('cdsa.session')).accessToken)
  const given = async () => Date.parse((await viewer(bearer)).viewer.sessions.edges.find(({ node }) => node.isCurrent).node.mfaAt)
  const before = await given()
  const stepUp = form(panel, 'Step up')
  await fill(stepUp, 'Code', totp.generate({ timestamp: Date.now() - 20 * period }))
  await press(stepUp, 'Step up')
  await told(panel, /code/i)
  await fill(stepUp, 'Code', await code(totp))
  await press(stepUp, 'Step up')
  await told(panel, 'Your second factor is fresh.')
  assert.ok((await given()) > before)
  say('stepped up')

  const change = form(panel, 'Change password')
  await fill(change, 'Your password', 'not the password')
  await fill(change, 'New password', changedPassword)
  await press(change, 'Change password')
  await told(panel, /\w{4,}/)
  await fill(change, 'Your password', ada.password)
  await fill(change, 'New password', changedPassword)
  await press(change, 'Change password')
  await told(panel, 'The password is changed.')
  assert.equal(await sessions.count(), 1)
  await picture(page, 'changed')
  await press(panel, 'Close')
  await signedIn(page, ada.name)
  await assert.rejects(viewer(bearer), refused('UNAUTHENTICATED'))
  say('changed the password and stayed signed in')

  // A reset keeps the second factor once the address was confirmed, here on another device.
  const { token: confirmed } = await linkMailed('verify', ada.email)
  secrets.add(confirmed)
  await request(null, 'mutation ($t: String!) { verifyEmail(token: $t) }', { t: confirmed })

  // The link is opened where its owner is still signed in: with the password, that session ends.
  const asking = await open(home)
  await press(asking, 'Forgot your password?')
  const forgot = form(asking, 'Forgot your password')
  assert.equal(await asking.evaluate(() => document.activeElement.name), 'email')
  await fill(forgot, 'E-mail', ada.email)
  await press(forgot, 'Mail me a link')
  await told(asking, 'a link to set a new password is mailed')
  await form(asking, 'Sign in').waitFor()
  for (const broken of ['reset=3Dcdsa_rs_abcdef=', 'invite', 'verify=']) {
    await asking.goto('about:blank')
    await asking.goto(`${home}#${broken}`)
    await told(asking, 'Copy all of the link')
    assert.equal(asking.url(), home)
  }
  await asking.context().close()
  const link = await mailed('reset', ada.email)
  await page.goto(link)
  const reset = form(page, 'Set a new password')
  await reset.waitFor()
  assert.equal(page.url(), home)
  await forgotten(page)
  await picture(page, 'reset')
  await fill(reset, 'New password', 'short')
  await press(reset, 'Set password')
  await told(reset, /\w{4,}/)
  await fill(reset, 'New password', newPassword)
  await press(reset, 'Set password')
  await told(page, 'The password is set.')
  const again = await signIn(page, changedPassword)
  await told(page, 'is wrong')
  await fill(again, 'Password', newPassword)
  await press(again, 'Sign in')
  await fill(again, 'Code or recovery code', recovery[3].toLowerCase())
  await press(again, 'Sign in')
  await signedIn(page, ada.name)
  await page.goto(link) // it was good once
  await fill(reset, 'New password', newPassword + ' again')
  await press(reset, 'Set password')
  await told(reset, 'This link is not valid')
  await press(reset, 'Not now')
  await signedIn(page, ada.name)
  say('reset the password and signed in with a recovery code')

  const admin = await login(settings.adminEmail, settings.password)
  const input = { email: guest.email, roles: ['auditor'] }
  await request(admin.token, 'mutation ($input: InviteUserInput!) { inviteUser(input: $input) { invitation { id } } }', { input })
  const invited = await open(await mailed('invite', guest.email))
  const invitation = form(invited, 'You are invited')
  await fill(invitation, 'E-mail', 'somebody@example.org')
  await fill(invitation, 'Username', guest.name)
  await fill(invitation, 'Password', guest.password)
  await picture(invited, 'invitation')
  await press(invitation, 'Register')
  await told(invitation, /\w{4,}/)
  await fill(invitation, 'E-mail', guest.email)
  await press(invitation, 'Register')
  await signedIn(invited, guest.name)
  assert.equal(await invited.locator('#account small').textContent(), 'auditor')
  await invitation.waitFor({ state: 'hidden' })
  await signedIn(page, ada.name)
  say('an invitation made an account')

  // Who comes by invitation where somebody is signed in takes their place, and that session ends.
  const held = await page.evaluate(() => JSON.parse(sessionStorage.getItem('cdsa.session')).accessToken)
  input.email = heir.email
  await request(admin.token, 'mutation ($input: InviteUserInput!) { inviteUser(input: $input) { invitation { id } } }', { input })
  await page.goto(await mailed('invite', heir.email))
  const another = form(page, 'You are invited')
  await fill(another, 'E-mail', heir.email)
  await fill(another, 'Username', heir.name)
  await fill(another, 'Password', heir.password)
  await press(another, 'Register')
  await signedIn(page, heir.name)
  await patiently(() => viewer(held).then(() => Promise.reject(new Error('the session is still there')), refused('UNAUTHENTICATED')))

  // A session that was ended elsewhere ends in the page with the next request, whose 401 Chromium puts on the console.
  assert.deepEqual(wrong, [])
  const elsewhere = await login(guest.name, guest.password)
  await request(elsewhere.token, 'mutation { revokeOtherSessions }')
  await press(invited, 'Account')
  await told(invited, 'Your session has ended.')
  await form(invited, 'Sign in').waitFor()
  await forgotten(invited)

  await browser.close()
  assert.equal(wrong.length, 1, wrong.join('\n'))
  assert.match(wrong[0], /status of 401/)
  assert.ok(addresses.length > 20)
  for (const address of addresses.map(decodeURIComponent)) {
    assert.equal(new URL(address || home).host, new URL(home).host)
    for (const secret of secrets) assert.ok(!address.includes(secret), 'a secret stands in an address')
  }
})
