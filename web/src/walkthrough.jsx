// The panel of examples, as a GraphiQL plugin.
import { useState } from 'react'
import { parse, print } from 'graphql'
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react'
import { examples } from './examples.js'
import { fill, missing } from './known.js'

/** narrow is a page where the examples cover the editor: they begin closed, and close when one is chosen. */
export const narrow = matchMedia('(max-width: 1000px)') // as in style.css

function Icon() {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.5">
      <path d="M9 6h11M9 12h11M9 18h11" />
      <circle cx="4.500" cy="6" r="1.200" />
      <circle cx="4.500" cy="12" r="1.200" />
      <circle cx="4.500" cy="18" r="1.200" />
    </svg>
  )
}

function Content() {
  const { addTab, setVisiblePlugin, stop, updateActiveTabValues } = useGraphiQLActions()
  const [refused, setRefused] = useState({})
  const { queryEditor, variableEditor } = useGraphiQL(({ queryEditor, variableEditor }) => ({ queryEditor, variableEditor }))

  const open = (example) => {
    const first = missing(example.variables)
    setRefused(first ? { title: example.title, first } : {})
    if (first) return
    const query = print(parse(example.query)) + '\n' // one field a line
    const variables = JSON.stringify(fill(example.variables), null, 2)
    stop() // or a subscription would write into the new tab
    addTab()
    queryEditor?.setValue(query)
    variableEditor?.setValue(variables)
    updateActiveTabValues({ query, variables })
    if (narrow.matches) setVisiblePlugin(null)
  }
  return (
    <section className="walkthrough" aria-label="Examples">
      <h2>Examples</h2>
      <p>
        Each opens in a tab with the ids of earlier results filled in. Run it with Ctrl+Enter. In the editor Tab indents; after Ctrl+M (on a Mac Ctrl+Shift+M) it leaves the
        editor.
      </p>
      <ol>
        {examples.map((example) => (
          <li key={example.title}>
            <button type="button" onClick={() => open(example)}>
              {example.title}
            </button>
            <span className="who">{example.who}</span>
            {example.hint && <p>{example.hint}</p>}
            <p role="status">{refused.title === example.title && `Run “${refused.first}” first.`}</p>
          </li>
        ))}
      </ol>
    </section>
  )
}

export const walkthrough = { title: 'Examples', icon: Icon, content: Content }
