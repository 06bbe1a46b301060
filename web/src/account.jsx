// The bar at the top: who is signed in, signing in and out, and choosing a file to upload.
import { useEffect, useState, useSyncExternalStore } from 'react'
import { account, login, logout, register, subscribe, wasEnded } from './session.js'
import { onSocketStatus, socketStatus, upload } from './fetcher.js'
import { begin, serverInfo } from './oidc.js'
import { Security } from './security.jsx'

export const useAccount = () => useSyncExternalStore(subscribe, account)

const sockets = { open: 'live', connecting: 'connecting …', closed: 'no subscription' }

export function AccountBar({ greeting }) {
  const who = useAccount()
  const socket = useSyncExternalStore(onSocketStatus, socketStatus)
  const [notice, setNotice] = useState('')
  const [isOpen, setIsOpen] = useState(false)
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
      setNotice(error.message)
    }
  }
  const leave = () => logout().catch((error) => setNotice(error.message))

  return (
    <>
      <header className="bar">
        <strong>CDSA</strong>
        {who ? (
          <>
            <span id="account">
              {who.username} <small>{who.roles.join(', ')}</small>
            </span>
            <span className={`socket ${socket}`}>{sockets[socket]}</span>
            <label className="button">
              Upload
              <input type="file" onChange={chosen} hidden />
            </label>
            <button type="button" onClick={() => setIsOpen(true)}>
              Account
            </button>
            <button type="button" onClick={leave}>
              Sign out
            </button>
          </>
        ) : (
          <SignIn onNotice={setNotice} />
        )}
        <output>{notice}</output>
      </header>
      {who && isOpen && <Security onClose={() => setIsOpen(false)} />}
    </>
  )
}

function SignIn({ onNotice }) {
  const [isNew, setIsNew] = useState(false)
  const [isBusy, setIsBusy] = useState(false)
  const [wantsCode, setWantsCode] = useState(false)
  const [{ registration, oidcProviders }, setInfo] = useState({ registration: 'closed', oidcProviders: [] })

  useEffect(() => {
    serverInfo().then(setInfo, (error) => onNotice(error.message))
  }, [onNotice])

  const submit = async (event) => {
    event.preventDefault()
    const form = new FormData(event.target)
    const { name, email, password, code } = Object.fromEntries(form)
    setIsBusy(true)
    onNotice('')
    try {
      if (isNew) await register({ email, username: name, password, invitation: code || undefined })
      else await login({ login: name, password, ...secondFactor(code) })
    } catch (error) {
      const asksForCode = error.code === 'MFA_REQUIRED' && error.state === 'CODE_MISSING'
      if (asksForCode) setWantsCode(true)
      onNotice(asksForCode ? 'Enter a code of your authenticator, or a recovery code.' : error.message)
    } finally {
      setIsBusy(false)
    }
  }
  const toggle = () => {
    setIsNew(!isNew)
    setWantsCode(false)
  }
  return (
    <>
      <form onSubmit={submit} aria-label={isNew ? 'Register' : 'Sign in'}>
        {isNew && <Field name="email" type="email" label="E-mail" autoComplete="email" required />}
        <Field name="name" label={isNew ? 'Username' : 'Username or e-mail'} autoComplete="username" onInput={() => setWantsCode(false)} required />
        <Field name="password" type="password" label="Password" autoComplete={isNew ? 'new-password' : 'current-password'} required />
        {isNew && registration !== 'open' && <Field name="code" className="short" label="Invitation" required />}
        {wantsCode && <Field name="code" label="Code or recovery code" autoComplete="one-time-code" autoFocus required />}
        <button type="submit" disabled={isBusy}>
          {isNew ? 'Register' : 'Sign in'}
        </button>
        {registration !== 'closed' && (
          <button type="button" className="link" onClick={toggle}>
            {isNew ? 'I have an account' : 'New here'}
          </button>
        )}
      </form>
      {oidcProviders.map((provider) => (
        <button key={provider.name} type="button" onClick={() => begin(provider).catch((error) => onNotice(error.message))}>
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
