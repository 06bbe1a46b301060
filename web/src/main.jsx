import './monaco.js'
import { createRoot } from 'react-dom/client'
import { GraphiQL } from 'graphiql'
import 'graphiql/style.css'
import './style.css'
import { AccountBar, useAccount } from './account.jsx'
import { fetcher } from './fetcher.js'
import { claim } from './session.js'
import { walkthrough } from './walkthrough.jsx'
import { welcome } from './examples.js'

// No history plugin: variables may hold what must not be kept. Any JSON may stand for these two scalars.
const plugins = [walkthrough]
const scalars = { Map: {}, Any: {} }

function Playground() {
  const who = useAccount()
  return (
    <>
      <AccountBar />
      {!who && <p className="hint">Sign in to have the schema: the server does not describe itself to strangers.</p>}
      {/* A new account begins with an empty screen. Without one, null asks for no schema. */}
      <GraphiQL
        key={who?.id ?? 'nobody'}
        fetcher={fetcher}
        schema={who ? undefined : null}
        customScalarSchemas={scalars}
        storage={sessionStorage}
        plugins={plugins}
        visiblePlugin={walkthrough}
        defaultQuery={welcome}
        defaultEditorToolsVisibility="variables"
        isHeadersEditorEnabled={false}
      >
        <GraphiQL.Logo>{' '}</GraphiQL.Logo>
      </GraphiQL>
    </>
  )
}

claim().then(() => createRoot(document.getElementById('root')).render(<Playground />))
