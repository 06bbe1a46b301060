// The playground with an OpenID Connect provider in a real browser: sign in there, come back signed in, with the roles
// of the claims; answers that nobody asked for and mailed links leave nothing in the address bar. A second provider, played
// here, forwards people to the first one (mix-up): it never sees their code.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { launch } from './chromium.mjs'
import { main, patiently, request, say, settings } from './lib.mjs'

// attack runs a provider that sends the browser wherever trap.forward says, given the client's parameters. What reaches
// its token endpoint is in trap.stolen.
const trap = { stolen: [], forward: null }
function attack() {
  const document = {
    issuer: settings.attacker, authorization_endpoint: settings.attacker + '/authorize', token_endpoint: settings.attacker + '/token',
    jwks_uri: settings.attacker + '/keys', id_token_signing_alg_values_supported: ['ES256'],
  }
  const server = createServer((req, res) => {
    const { pathname, searchParams } = new URL(req.url, settings.attacker)
    if (pathname === '/token') trap.stolen.push(req.url)
    if (pathname === '/authorize') res.writeHead(302, { location: trap.forward(searchParams) })
    res.end(pathname.startsWith('/.well-known/') ? JSON.stringify(document) : undefined)
  })
  const { hostname, port } = new URL(settings.attacker)
  return new Promise((resolve) => server.listen(Number(port), hostname, resolve))
}

main(async () => {
  const found = (name) =>
    patiently(async () => {
      const { serverInfo } = await request(null, '{ serverInfo { oidcProviders { name authorizationUrl } } }')
      const provider = serverInfo.oidcProviders.find((p) => p.name === name)
      if (!provider) throw new Error(`${name} is not discovered yet`)
      return provider.authorizationUrl
    })
  const url = await found('corp')
  assert.equal(new URL(url).origin, settings.provider)
  say('the server found the provider that came after it')
  await attack()
  await found('mixup')

  const browser = await launch()
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } })
  page.setDefaultTimeout(30_000)
  const wrong = []
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => wrong.push(`uncaught: ${error.message}`))
  page.on('request', (r) => {
    const { protocol, origin, href } = new URL(r.url())
    if (['data:', 'blob:'].includes(protocol)) return
    if (![settings.url, settings.provider, settings.attacker].includes(origin)) wrong.push(`${href} is elsewhere`)
    if (/eyJ|verifier/i.test(href)) wrong.push('a secret stands in an address')
  })
  const home = settings.url + '/'
  const signedIn = async (roles) => {
    await page.locator('#account').waitFor()
    assert.equal(page.url(), home, 'the code is gone from the address bar')
    assert.equal(await page.locator('#account small').textContent(), roles)
    assert.equal(await page.evaluate(() => sessionStorage.getItem('cdsa.oidc')), null, 'verifier, state and nonce are gone')
  }
  const begin = (name = 'corp') => page.getByRole('button', { name: `Sign in with ${name}` }).click()

  await page.goto(home)
  await begin()
  await page.getByLabel('Login').fill('grace')
  assert.equal(new URL(page.url()).origin, settings.provider)
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByText('Do you allow it?').waitFor()
  await page.getByRole('button', { name: 'Continue' }).click()
  await signedIn('analyst, auditor')
  assert.match(await page.locator('#account').textContent(), /^grace\.hopper /)
  say('signed in with the provider')

  await page.locator('.graphiql-query-editor .view-lines').waitFor()
  await page.locator('button.graphiql-execute-button').click()
  const answer = () => page.evaluate(() => globalThis.__MONACO.editor.getModels().filter((m) => m.uri.path.endsWith('response.json')).at(-1)?.getValue())
  for (let tries = 0; !(await answer())?.includes('grace.hopper'); tries++) {
    assert.ok(tries < 300, `the query gave ${await answer()}`)
    await page.waitForTimeout(50)
  }
  say('the query ran')

  await page.getByRole('button', { name: 'Account' }).click()
  await page.getByText('this session').waitFor()
  await page.getByRole('button', { name: 'Set up' }).waitFor()
  if (settings.screenshot) await page.screenshot({ path: settings.screenshot })
  await page.getByRole('button', { name: 'Close' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByText('Sign in to have the schema').waitFor()

  // The provider remembers her; the group is gone, and the role with it.
  await fetch(settings.provider + '/control', { method: 'POST', body: JSON.stringify({ login: 'grace', groups: [] }) })
  await begin()
  await signedIn('analyst')
  say('the role went with the group')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByText('Sign in to have the schema').waitFor()

  // Mix-up: the provider remembers her, so the answer comes at once, at the address of the provider that gave it. At the
  // attacker's address, as if that were registered too, its iss gives it away.
  const said = (text) => page.locator('.bar output').filter({ hasText: text }).waitFor()
  trap.forward = (params) => {
    const location = new URL(url)
    for (const name of ['state', 'nonce', 'code_challenge', 'code_challenge_method']) location.searchParams.set(name, params.get(name))
    location.searchParams.set('redirect_uri', home + 'oidc/corp')
    return location.href
  }
  await begin('mixup')
  await said('Another provider answered')
  assert.equal(page.url(), home)
  trap.forward = (params) => `${home}oidc/mixup?code=hers&state=${params.get('state')}&iss=${encodeURIComponent(settings.provider)}`
  await begin('mixup')
  await said("The provider's answer is not valid")
  assert.equal(page.url(), home)
  assert.deepEqual(trap.stolen, [])
  say('another provider got no code')

  // An answer that this tab did not ask for signs nobody in.
  await page.goto(home + '?code=stolen&state=made-up')
  await page.locator('.bar output').filter({ hasText: 'Nobody began this sign-in' }).waitFor()
  assert.equal(page.url(), home)
  for (const [fragment, title] of [['reset', 'Set a new password'], ['verify', 'Confirm your e-mail address'], ['invite', 'You are invited']]) {
    await page.goto('about:blank')
    await page.goto(`${home}#${fragment}=abcDEF-_123`)
    await page.getByRole('form', { name: title }).waitFor()
    assert.equal(page.url(), home, 'the token is gone from the address bar')
  }
  await page.getByRole('button', { name: 'Not now' }).click()
  await browser.close()
  assert.deepEqual(wrong, [])
})
