// The panel of one's own account: login sessions and the second factor.
import { useCallback, useEffect, useRef, useState } from 'react'
import { account, call, changePassword } from './session.js'

const read = `{ viewer { totpEnabledAt sessions(first: 50, where: { ended: false }) {
  edges { node { id isCurrent kind name signedInAt lastActivity ipAddress userAgent } } } } }`

export function Security({ onClose }) {
  const dialog = useRef(null)
  const [viewer, setViewer] = useState(null)
  const [notice, setNotice] = useState('')

  const load = useCallback(() => call(read).then(({ viewer }) => setViewer(viewer)), [])
  useEffect(() => {
    dialog.current.showModal()
    load().catch((error) => setNotice(error.message))
  }, [load])

  // attempt does something, says how it went and shows what is there now; its result, or null.
  const attempt = (query, variables, done = '') => perform(() => call(query, variables), done)
  const perform = async (act, done) => {
    setNotice('')
    let data = null
    try {
      data = await act()
      await load()
      setNotice(done)
    } catch (error) {
      setNotice(error.message)
    }
    return data // also when load failed: recovery codes are given once
  }
  return (
    <dialog ref={dialog} className="security" aria-label="Account" onClose={onClose}>
      <form method="dialog">
        <h2>Account</h2>
        <button type="submit">Close</button>
      </form>
      <output>{notice}</output>
      {viewer && <Sessions list={viewer.sessions.edges.map(({ node }) => node)} attempt={attempt} />}
      {viewer && <Password change={(input) => perform(() => changePassword(input), 'The password is changed. All other sessions and API tokens are ended.')} />}
      {viewer && <SecondFactor isOn={viewer.totpEnabledAt !== null} attempt={attempt} />}
    </dialog>
  )
}

function Sessions({ list, attempt }) {
  const time = (at) => (at ? new Date(at).toLocaleString() : 'just now')
  return (
    <section aria-label="Sessions">
      <h3>Sessions</h3>
      <ul>
        {list.map((session) => (
          <li key={session.id}>
            {session.kind === 'API_TOKEN' ? `API token ${session.name ?? ''}` : `${session.userAgent ?? 'A client'} at ${session.ipAddress ?? 'an unknown address'}`}
            <small> since {time(session.signedInAt)}, last used {time(session.lastActivity)}</small>{' '}
            {session.isCurrent ? (
              <em>this session</em>
            ) : (
              <button type="button" onClick={() => attempt('mutation Revoke($id: ID!) { revokeSession(id: $id) { id } }', { id: session.id }, 'The session is ended.')}>
                Revoke
              </button>
            )}
          </li>
        ))}
      </ul>
      <button type="button" onClick={() => attempt('mutation RevokeOthers { revokeOtherSessions }', {}, 'All other sessions are ended.')}>
        Revoke all others
      </button>
    </section>
  )
}

function Password({ change }) {
  return (
    <section aria-label="Password">
      <h3>Password</h3>
      <Ask label="Change password" password fresh submit={({ password, newPassword }) => change({ currentPassword: password, newPassword })} />
    </section>
  )
}

function SecondFactor({ isOn, attempt }) {
  const [enrollment, setEnrollment] = useState(null)
  const [codes, setCodes] = useState(null)

  const enrol = async ({ password }) => {
    const data = await attempt('mutation Enrol($password: String!) { enrollTotp(password: $password) { secret qrCode } }', { password })
    setEnrollment(data?.enrollTotp ?? null)
  }
  const confirm = async ({ code }) => {
    const data = await attempt('mutation Confirm($code: String!) { confirmTotp(code: $code) { codes } }', { code }, 'The second factor is on.')
    if (!data) return
    setEnrollment(null)
    setCodes(data.confirmTotp.codes)
  }
  const stepUp = ({ code }) => attempt('mutation StepUp($code: String!) { stepUp(code: $code) }', { code }, 'Your second factor is fresh.')
  const disable = async ({ password, code }) => {
    const query = 'mutation Disable($password: String!, $code: String!) { disableTotp(password: $password, code: $code) }'
    if (await attempt(query, { password, code }, 'The second factor is off.')) setCodes(null)
  }
  return (
    <section aria-label="Second factor">
      <h3>Second factor</h3>
      {codes && (
        <>
          <p>Keep these recovery codes. Each is good once; they are not shown again.</p>
          <pre id="recovery">{codes.join('\n')}</pre>
        </>
      )}
      {isOn && <Ask label="Step up" code submit={stepUp} />}
      {isOn && <Ask label="Turn off" password code submit={disable} />}
      {!isOn && !enrollment && <Ask label="Set up" password submit={enrol} />}
      {!isOn && enrollment && (
        <>
          <p>
            Scan this with an authenticator, or type <code>{enrollment.secret}</code> into it; then enter its code.
          </p>
          <img src={enrollment.qrCode} alt="QR code of the secret above" width="240" height="240" />
          <Ask label="Confirm" code submit={confirm} />
        </>
      )}
    </section>
  )
}

// Ask is a form of a password, a new one, a code or some of them. The hidden username is for password managers.
function Ask({ label, password, fresh, code, submit }) {
  const [isBusy, setIsBusy] = useState(false)
  const send = async (event) => {
    event.preventDefault()
    const form = event.target
    setIsBusy(true)
    await submit(Object.fromEntries(new FormData(form)))
    form.reset()
    setIsBusy(false)
  }
  return (
    <form onSubmit={send} aria-label={label}>
      {password && <input name="username" autoComplete="username" value={account()?.username ?? ''} readOnly hidden />}
      {password && <input name="password" type="password" placeholder="Your password" aria-label="Your password" autoComplete="current-password" required />}
      {fresh && <input name="newPassword" type="password" placeholder="New password" aria-label="New password" autoComplete="new-password" required />}
      {code && <input name="code" placeholder="Code" aria-label="Code" autoComplete="one-time-code" required />}
      <button type="submit" disabled={isBusy}>
        {label}
      </button>
    </form>
  )
}
