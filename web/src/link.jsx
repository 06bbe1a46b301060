// Small forms for mailed links: a new password, a confirmed address, an account by invitation.
import { useState } from 'react'
import { callAsNobody, recheck, register } from './session.js'

const forms = {
  reset: {
    title: 'Set a new password',
    button: 'Set password',
    done: 'The password is set. Sign in with it.',
    fields: [['password', 'New password', { type: 'password', autoComplete: 'new-password' }]],
    submit: async (token, { password }) => {
      await callAsNobody('mutation Reset($input: ResetPasswordInput!) { resetPassword(input: $input) }', { input: { token, newPassword: password } })
      await recheck() // every session of that account has ended, which may be this tab's
    },
  },
  verify: {
    title: 'Confirm your e-mail address',
    button: 'Confirm',
    done: 'The address is confirmed.',
    fields: [],
    submit: (token) => callAsNobody('mutation Verify($token: String!) { verifyEmail(token: $token) }', { token }),
  },
  invite: {
    title: 'You are invited',
    button: 'Register',
    done: 'Welcome.',
    fields: [
      ['email', 'E-mail', { type: 'email', autoComplete: 'email' }],
      ['username', 'Username', { autoComplete: 'username' }],
      ['password', 'Password', { type: 'password', autoComplete: 'new-password' }],
    ],
    submit: (invitation, typed) => register({ ...typed, invitation }),
  },
}

export function MailedLink({ kind, token, onEnd }) {
  const [notice, setNotice] = useState('')
  const [isBusy, setIsBusy] = useState(false)
  const { title, button, done, fields, submit } = forms[kind]

  const send = async (event) => {
    event.preventDefault()
    setIsBusy(true)
    try {
      await submit(token, Object.fromEntries(new FormData(event.target)))
      onEnd(done)
    } catch (error) {
      setNotice(error.message)
      setIsBusy(false)
    }
  }
  return (
    <form className="panel" onSubmit={send} aria-label={title}>
      <strong>{title}</strong>
      {fields.map(([name, label, attributes]) => (
        <label key={name}>
          {label} <input name={name} required {...attributes} />
        </label>
      ))}
      <button type="submit" disabled={isBusy}>
        {button}
      </button>
      <button type="button" onClick={() => onEnd('')}>
        Not now
      </button>
      <output>{notice}</output>
    </form>
  )
}
