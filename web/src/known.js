// Ids of earlier results, so that the next example has its variables filled in. They live as long as the tab's session.

const key = 'cdsa.known'

// From where in a result which variable is learnt; a path goes through the first element of a list.
const sources = [
  ['uploadDocument.id', 'documentId'],
  ['createDocument.id', 'documentId'],
  ['documents.edges.0.node.id', 'documentId'],
  ['createChatSession.id', 'sessionId'],
  ['createChatSession.eventCursor', 'after'],
  ['eventCursor', 'after'],
  ['sendMessage.eventCursor', 'after'],
  ['executeTool.id', 'executionId'],
  ['executeTool.approvalId', 'approvalId'],
  ['executeTool.argsHash', 'argsHash'],
  ['chatEvents.execution.id', 'executionId'],
  ['approvalEvents.approval.id', 'approvalId'],
  ['approvalEvents.approval.argsHash', 'argsHash'],
  ['toolApprovals.edges.0.node.id', 'approvalId'],
  ['toolApprovals.edges.0.node.argsHash', 'argsHash'],
]

function all() {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {}
  } catch {
    return {}
  }
}

/** remember takes the ids of a result's data. */
export function remember(data) {
  if (!data) return
  const found = {}
  for (const [path, name] of sources) {
    const value = path.split('.').reduce((at, step) => at?.[step], data)
    if (typeof value === 'string') found[name] = value
  }
  if (Object.keys(found).length) sessionStorage.setItem(key, JSON.stringify({ ...all(), ...found }))
}

// What gives the variables that an example cannot do without.
const givenBy = { sessionId: 'Start a conversation', approvalId: 'List requests for approval', argsHash: 'List requests for approval' }

/** missing is the title of the example to run before one with these variables, if any. */
export function missing(variables) {
  const known = all()
  const names = JSON.stringify(variables).matchAll(/"\$(\w+)"/g)
  for (const [, name] of names) if (!(name in known) && givenBy[name]) return givenBy[name]
  return undefined
}

/** fill replaces "$name" by what is known of it, and by null where nothing is. */
export function fill(variables) {
  const known = all()
  return JSON.parse(JSON.stringify(variables), (_, value) =>
    typeof value === 'string' && /^\$\w+$/.test(value) ? (known[value.slice(1)] ?? null) : value,
  )
}
