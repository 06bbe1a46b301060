import { arrival } from './arrival.js' // first: what the address brings is removed from it before anything else happens
import './monaco.js'
import { useState } from 'react'
import { createRoot } from 'react-dom/client'
import { GraphiQL } from 'graphiql'
import 'graphiql/style.css'
import './style.css'
import { AccountBar, useAccount } from './account.jsx'
import { fetcher } from './fetcher.js'
import { MailedLink } from './link.jsx'
import { finish } from './oidc.js'
import { claim } from './session.js'
import { narrow, walkthrough } from './walkthrough.jsx'
import { welcome } from './examples.js'

// No history plugin: variables may hold what must not be kept. Any JSON may stand for these two scalars.
const plugins = [walkthrough]
const scalars = { Map: {}, Any: {} }

function Playground({ greeting }) {
  const who = useAccount()
  const [link, setLink] = useState(arrival.link)
  const [notice, setNotice] = useState(greeting)
  const end = (said) => {
    setLink(undefined)
    setNotice(said)
  }
  return (
    <>
      <AccountBar greeting={notice} />
      {link && <MailedLink {...link} onEnd={end} />}
      {!who && <p className="hint">Sign in to have the schema: the server does not describe itself to strangers.</p>}
      {/* A new account begins with an empty screen. Without one, null asks for no schema. */}
      <GraphiQL
        key={who?.id ?? 'nobody'}
        fetcher={fetcher}
        schema={who ? undefined : null}
        customScalarSchemas={scalars}
        storage={sessionStorage}
        plugins={plugins}
        visiblePlugin={narrow.matches ? undefined : walkthrough}
        defaultQuery={welcome}
        defaultEditorToolsVisibility="variables"
        isHeadersEditorEnabled={false}
      >
        <GraphiQL.Logo>{' '}</GraphiQL.Logo>
      </GraphiQL>
    </>
  )
}

// enter gives what to say at first: why a provider's answer did not sign anyone in.
async function enter() {
  await claim()
  try {
    if (arrival.answer) await finish(arrival.answer)
    return arrival.notice ?? ''
  } catch (error) {
    return error.message
  }
}

enter().then((greeting) => createRoot(document.getElementById('root')).render(<Playground greeting={greeting} />))
