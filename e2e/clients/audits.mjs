// The audits of the graphql-http package: every MUST and SHOULD of GraphQL over HTTP, signed in and anonymous.
import assert from 'node:assert/strict'
import { serverAudits } from 'graphql-http'
import { login, main, say, settings } from './lib.mjs'

main(async () => {
  const { token } = await login(settings.adminEmail, settings.password)
  for (const [who, headers] of [['signed in', { authorization: `Bearer ${token}` }], ['anonymous', {}]]) {
    const fetchFn = (url, init = {}) => fetch(url, { ...init, headers: { ...init.headers, ...headers } })
    const failed = []
    const audits = serverAudits({ url: settings.url + '/graphql', fetchFn })
    for (const audit of audits) {
      const { status, reason } = await audit.fn()
      if (status !== 'ok' && !audit.name.startsWith('MAY')) failed.push(`${audit.id} ${audit.name}: ${reason}`)
    }
    assert.ok(audits.length > 50, `the package has ${audits.length} audits`)
    assert.deepEqual(failed, [], who)
    say(`${audits.length} audits, ${who}`)
  }
})
