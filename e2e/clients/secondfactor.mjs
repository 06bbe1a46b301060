// A second factor from enrolment to removal. The codes are those of the package otpauth, which reads the server's URI as
// an authenticator does; the server's own come from another implementation.
import assert from 'node:assert/strict'
import * as OTPAuth from 'otpauth'
import * as e2e from './lib.mjs'

const { settings, say, refused, request } = e2e
const period = 30_000

/** codeAt is a code `steps` away from now, never so close to the end of its time that it could be late. */
async function codeAt(totp, steps) {
  const left = period - (Date.now() % period)
  if (left < 4_000) await new Promise((resolve) => setTimeout(resolve, left))
  return totp.generate({ timestamp: Date.now() + steps * period })
}

const enrolFirst = (error) => refused('MFA_REQUIRED')(error) && error.state === 'ENROLLMENT'

e2e.main(async () => {
  const signIn = (factor) => e2e.login(settings.adminEmail, settings.password, factor)
  const { register } = await request(null, 'mutation ($input: RegisterInput!) { register(input: $input) { user { id } } }', {
    input: { email: 'newcomer@example.org', username: 'newcomer', password: 'the gulls of the harbour wall' },
  })
  const give = (who, role) => request(who.token, 'mutation ($id: ID!, $role: String!) { assignRole(userId: $id, role: $role) { id } }', { id: register.user.id, role })
  const early = await signIn()
  const admin = await signIn()
  await assert.rejects(give(admin, 'auditor'), enrolFirst)

  const enrol = (password) => request(admin.token, 'mutation ($p: String!) { enrollTotp(password: $p) { secret otpauthUri qrCode } }', { p: password })
  await assert.rejects(enrol('not the password'), refused('BAD_USER_INPUT'))
  const { enrollTotp } = await enrol(settings.password)
  const totp = OTPAuth.URI.parse(enrollTotp.otpauthUri)
  assert.equal(totp.secret.base32, enrollTotp.secret)
  assert.deepEqual([totp.issuer, totp.label, totp.algorithm, totp.digits, totp.period], ['CDSA', 'admin', 'SHA1', 6, 30])
  assert.match(enrollTotp.qrCode, /^data:image\/png;base64,iVBOR/)
  const confirm = (code) => request(admin.token, 'mutation ($c: String!) { confirmTotp(code: $c) { codes } }', { c: code })
  await assert.rejects(confirm('not a code'), refused('BAD_USER_INPUT'))
  const { codes } = (await confirm(await codeAt(totp, -1))).confirmTotp
  assert.equal(new Set(codes).size, 10)
  await assert.rejects(request(early.token, '{ eventCursor }'), refused('UNAUTHENTICATED')) // opened by the password alone
  await give(admin, 'auditor')
  await assert.rejects(enrol(settings.password), refused('FAILED_PRECONDITION'))
  say('enrolled; the act that needs a second factor is done')

  await assert.rejects(signIn(), (error) => refused('MFA_REQUIRED')(error) && error.state === 'CODE_MISSING')
  await assert.rejects(signIn({ totpCode: '12345' }), refused('UNAUTHENTICATED'))
  const code = await codeAt(totp, 0)
  await give(await signIn({ totpCode: code }), 'approver')
  await assert.rejects(signIn({ totpCode: code }), refused('UNAUTHENTICATED'))
  say('signed in with a code, which works once')

  let closed = 0
  const { eventCursor } = await request(admin.token, '{ eventCursor }')
  await new Promise((connected) => {
    e2e.watch(e2e.socket(admin, { connected, closed: () => closed++ }), 'approvals', e2e.approvalEvents, { after: eventCursor })
  })
  const stepUp = (who, code) => request(who.token, 'mutation ($c: String!) { stepUp(code: $c) }', { c: code })
  await assert.rejects(stepUp(admin, code), refused('BAD_USER_INPUT'))
  await stepUp(admin, await codeAt(totp, 1))
  await give(admin, 'analyst')
  assert.equal(closed, 0, 'a step-up closes no socket')
  say('stepped up')

  const typed = codes[4].toLowerCase().replaceAll('-', ' ')
  await give(await signIn({ recoveryCode: typed }), 'auditor')
  await assert.rejects(signIn({ recoveryCode: codes[4] }), refused('UNAUTHENTICATED'))
  await request(admin.token, 'mutation ($p: String!, $c: String!) { disableTotp(password: $p, code: $c) }', { p: settings.password, c: codes[9] })
  await assert.rejects(give(await signIn(), 'auditor'), enrolFirst)
  say('recovery codes work once; the second factor is gone')
})
