// The bar at the top: who is signed in, signing in and out, and choosing a file to upload.
import { useEffect, useRef, useState, useSyncExternalStore } from 'react'
import { account, isReachable, login, logout, register, requestPasswordReset, subscribe, unreachable, wasEnded } from './session.js'
import { onSocketStatus, socketStatus, upload } from './fetcher.js'
import { begin, serverInfo } from './oidc.js'
import { Security } from './security.jsx'

export const useAccount = () => useSyncExternalStore(subscribe, account)
const useReachable = () => useSyncExternalStore(subscribe, isReachable)

const sockets = { open: 'live', connecting: 'connecting …', waiting: 'reconnecting …', closed: 'no subscription' }

// saying gives what to do with an error: tell it, unless it is that the server is away, which the bar tells by itself.
const saying = (tell) => (error) => tell(error.isUnreachable ? '' : error.message)

export function AccountBar({ greeting }) {
  const who = useAccount()
  const socket = useSyncExternalStore(onSocketStatus, socketStatus)
  const isThere = useReachable()
  const [notice, setNotice] = useState('')
  const [isOpen, setIsOpen] = useState(false)
  const bar = useRef(null)
  const file = useRef(null)
  const before = useRef(who)
  useEffect(() => {
    // What was pressed is gone: the keyboard goes on where it was, not at the top of the page.
    if (Boolean(who) !== Boolean(before.current)) bar.current.querySelector(who ? '#own' : 'input').focus()
    before.current = who
  }, [who])
  useEffect(() => {
    if (who) return
    setIsOpen(false)
    setNotice((said) => (wasEnded() ? 'Your session has ended. Sign in again.' : said))
  }, [who])
  useEffect(() => setNotice(greeting), [greeting]) // last: it says why

  const chosen = async (event) => {
    const [file] = event.target.files
    event.target.value = ''
    if (!file) return
    setNotice(`Uploading ${file.name} …`)
    try {
      const { title } = await upload(file)
      setNotice(`“${title}” is stored and being indexed.`)
    } catch (error) {
      saying(setNotice)(error)
    }
  }
  const leave = () => logout().catch(saying(setNotice))

  return (
    <>
      <header className="bar" ref={bar}>
        <strong>CDSA</strong>
        {who ? (
          <>
            <span id="account">
              {who.username} <small>{who.roles.join(', ')}</small>
            </span>
            <span className={`socket ${socket}`}>{sockets[socket]}</span>
            <button type="button" onClick={() => file.current.click()}>
              Upload
            </button>
            <input type="file" ref={file} onChange={chosen} hidden />
            <button type="button" id="own" onClick={() => setIsOpen(true)}>
              Account
            </button>
            <button type="button" onClick={leave}>
              Sign out
            </button>
          </>
        ) : (
          <SignIn onNotice={setNotice} />
        )}
        <output>{isThere ? notice : unreachable}</output>
      </header>
      {who && isOpen && <Security onClose={() => setIsOpen(false)} />}
    </>
  )
}

const titles = { signIn: 'Sign in', register: 'Register', forgot: 'Forgot your password' }
const closed = { registration: 'closed', oidcProviders: [] }

function SignIn({ onNotice }) {
  const [form, setForm] = useState('signIn')
  const [wasSwitched, setWasSwitched] = useState(false)
  const [isBusy, setIsBusy] = useState(false)
  const [wantsCode, setWantsCode] = useState(false)
  const [{ registration, oidcProviders }, setInfo] = useState(closed)
  const isThere = useReachable()

  useEffect(() => {
    if (isThere) serverInfo().then(setInfo, saying(onNotice))
  }, [isThere, onNotice])

  const turn = (to) => {
    setForm(to)
    setWasSwitched(true)
    setWantsCode(false)
  }
  const send = {
    signIn: ({ name, password, code }) => login({ login: name, password, ...secondFactor(code) }),
    register: ({ email, name, password, code }) => register({ email, username: name, password, invitation: code || undefined }),
    forgot: async ({ email }) => {
      await requestPasswordReset(email)
      turn('signIn')
      onNotice('If there is an account with this address, a link to set a new password is mailed to it.')
    },
  }
  const submit = async (event) => {
    event.preventDefault()
    setIsBusy(true)
    onNotice('')
    try {
      await send[form](Object.fromEntries(new FormData(event.target)))
    } catch (error) {
      const asksForCode = error.code === 'MFA_REQUIRED' && error.state === 'CODE_MISSING'
      if (asksForCode) setWantsCode(true)
      if (asksForCode) onNotice('Enter a code of your authenticator, or a recovery code.')
      else saying(onNotice)(error)
    } finally {
      setIsBusy(false)
    }
  }
  const to = (next, label) => (
    <button type="button" className="link" onClick={() => turn(next)}>
      {label}
    </button>
  )
  const isNew = form === 'register'
  const isForgotten = form === 'forgot'
  return (
    <>
      <form key={form} onSubmit={submit} aria-label={titles[form]}>
        {(isNew || isForgotten) && <Field name="email" type="email" label="E-mail" autoComplete="email" autoFocus required />}
        {!isForgotten && (
          <>
            <Field
              name="name"
              label={isNew ? 'Username' : 'Username or e-mail'}
              autoComplete="username"
              autoFocus={wasSwitched && !isNew}
              onInput={() => setWantsCode(false)}
              required
            />
            <Field name="password" type="password" label="Password" autoComplete={isNew ? 'new-password' : 'current-password'} required />
          </>
        )}
        {isNew && registration !== 'open' && <Field name="code" className="short" label="Invitation" required />}
        {wantsCode && <Field name="code" label="Code or recovery code" autoComplete="one-time-code" autoFocus required />}
        <button type="submit" disabled={isBusy}>
          {isForgotten ? 'Mail me a link' : titles[form]}
        </button>
        {form !== 'signIn' && to('signIn', 'Back to signing in')}
        {form === 'signIn' && registration !== 'closed' && to('register', 'Create an account')}
        {form === 'signIn' && to('forgot', 'Forgot your password?')}
      </form>
      {oidcProviders.map((provider) => (
        <button key={provider.name} type="button" onClick={() => begin(provider).catch(saying(onNotice))}>
          Sign in with {provider.name}
        </button>
      ))}
    </>
  )
}

const Field = ({ label, ...rest }) => <input placeholder={label} aria-label={label} {...rest} />

// secondFactor tells an authenticator's code, which is six digits, from a recovery code.
function secondFactor(code = '') {
  const typed = code.replaceAll(' ', '')
  if (!typed) return {}
  return /^\d{6}$/.test(typed) ? { totpCode: typed } : { recoveryCode: code.trim() }
}
