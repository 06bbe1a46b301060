// The panel of examples, as a GraphiQL plugin.
import { parse, print } from 'graphql'
import { useGraphiQL, useGraphiQLActions } from '@graphiql/react'
import { examples } from './examples.js'
import { fill } from './known.js'

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
  const { addTab, stop, updateActiveTabValues } = useGraphiQLActions()
  const { queryEditor, variableEditor } = useGraphiQL(({ queryEditor, variableEditor }) => ({ queryEditor, variableEditor }))

  const open = (example) => {
    const query = print(parse(example.query)) + '\n' // one field a line
    const variables = JSON.stringify(fill(example.variables), null, 2)
    stop() // or a subscription would write into the new tab
    addTab()
    queryEditor?.setValue(query)
    variableEditor?.setValue(variables)
    updateActiveTabValues({ query, variables })
  }
  return (
    <section className="walkthrough" aria-label="Examples">
      <h2>The main job</h2>
      <p>Each opens in a tab with the ids of earlier results filled in.</p>
      <ol>
        {examples.map((example) => (
          <li key={example.title}>
            <button type="button" onClick={() => open(example)}>
              {example.title}
            </button>
            <span className="who">{example.who}</span>
            {example.hint && <p>{example.hint}</p>}
          </li>
        ))}
      </ol>
    </section>
  )
}

export const walkthrough = { title: 'Examples', icon: Icon, content: Content }
