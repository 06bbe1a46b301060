// The audits of the graphql-http package: every MUST and SHOULD of GraphQL over HTTP, signed in and anonymous. Two of
// them try variables on the schema's description, which strangers do not get.
import assert from 'node:assert/strict'
import { serverAudits } from 'graphql-http'
import { login, main, refused, request, say, settings } from './lib.mjs'

const introspecting = ['2EA1', '28B9']

main(async () => {
  const { token } = await login(settings.adminEmail, settings.password)
  await assert.rejects(request(null, 'query ($name: String!) { __type(name: $name) { name } }', { name: 'Query' }), refused('UNAUTHENTICATED'))
  for (const [who, headers, except] of [['signed in', { authorization: `Bearer ${token}` }, []], ['anonymous', {}, introspecting]]) {
    const fetchFn = (url, init = {}) => fetch(url, { ...init, headers: { ...init.headers, ...headers } })
    const failed = []
    const audits = serverAudits({ url: settings.url + '/graphql', fetchFn })
    for (const audit of audits) {
      if (except.includes(audit.id)) continue
      const { status, reason } = await audit.fn()
      if (status !== 'ok' && !audit.name.startsWith('MAY')) failed.push(`${audit.id} ${audit.name}: ${reason}`)
    }
    assert.ok(audits.length > 50, `the package has ${audits.length} audits`)
    assert.deepEqual(failed, [], who)
    say(`${audits.length - except.length} audits, ${who}`)
  }
})
