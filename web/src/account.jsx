// The bar at the top: who is signed in, signing in and out, and choosing a file to upload.
import { useState, useSyncExternalStore } from 'react'
import { account, login, logout, register, subscribe } from './session.js'
import { onSocketStatus, socketStatus, upload } from './fetcher.js'

export const useAccount = () => useSyncExternalStore(subscribe, account)

const sockets = { open: 'live', connecting: 'connecting …', closed: 'no subscription' }

export function AccountBar() {
  const who = useAccount()
  const socket = useSyncExternalStore(onSocketStatus, socketStatus)
  const [notice, setNotice] = useState('')

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
          <button type="button" onClick={leave}>
            Sign out
          </button>
        </>
      ) : (
        <SignIn onNotice={setNotice} />
      )}
      <output>{notice}</output>
    </header>
  )
}

function SignIn({ onNotice }) {
  const [isNew, setIsNew] = useState(false)
  const [isBusy, setIsBusy] = useState(false)

  const submit = async (event) => {
    event.preventDefault()
    const form = new FormData(event.target)
    const { name, email, password, code } = Object.fromEntries(form)
    setIsBusy(true)
    onNotice('')
    try {
      if (isNew) await register({ email, username: name, password, invitation: code || undefined })
      else await login({ login: name, password, totpCode: code || undefined })
    } catch (error) {
      onNotice(error.message)
    } finally {
      setIsBusy(false)
    }
  }
  return (
    <form onSubmit={submit} aria-label={isNew ? 'Register' : 'Sign in'}>
      {isNew && <input name="email" type="email" placeholder="E-mail" autoComplete="email" required />}
      <input name="name" placeholder={isNew ? 'Username' : 'Username or e-mail'} autoComplete="username" required />
      <input name="password" type="password" placeholder="Password" autoComplete={isNew ? 'new-password' : 'current-password'} required />
      <input name="code" className="short" placeholder={isNew ? 'Invitation' : 'Code'} autoComplete="one-time-code" />
      <button type="submit" disabled={isBusy}>
        {isNew ? 'Register' : 'Sign in'}
      </button>
      <button type="button" className="link" onClick={() => setIsNew(!isNew)}>
        {isNew ? 'I have an account' : 'New here'}
      </button>
    </form>
  )
}
