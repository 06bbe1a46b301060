// How operations of the editor reach the server: queries and mutations over HTTP, subscriptions over one websocket
// that comes back by itself and goes on after the last event it saw.
import { createClient } from 'graphql-ws'
import { getOperationAST, parse } from 'graphql'
import { account, post, postOwn, subscribe, token } from './session.js'
import { remember } from './known.js'

const shown = 200 // events kept of one subscription

let stale = false // the server closed the socket over its token
let status = 'closed' // or waiting (for the next attempt to reconnect), connecting, open
const listeners = new Set()

function setStatus(next) {
  status = next
  for (const listener of listeners) listener()
}

export const socketStatus = () => status
export const onSocketStatus = (listener) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

const client = createClient({
  url: location.origin.replace(/^http/, 'ws') + '/graphql',
  connectionParams: async () => {
    const bearer = await token({ renew: stale })
    stale = false
    return bearer ? { Authorization: `Bearer ${bearer}` } : {}
  },
  keepAlive: 15_000,
  retryAttempts: Number.MAX_SAFE_INTEGER,
  retryWait: (attempt) => new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** Math.min(attempt, 5), 10_000) * (0.75 + Math.random() / 2))),
  shouldRetry: (event) => account() !== null && (event?.code === undefined || event.code !== 4429),
  on: {
    connecting: (isRetry) => setStatus(isRetry ? 'waiting' : 'connecting'),
    connected: () => setStatus('open'),
    closed: (event) => {
      stale = event?.code === 4403
      setStatus(running.size ? 'waiting' : 'closed')
    },
  },
})

// Subscriptions end with the account they were made for, and the socket with the last of them.
const running = new Set()
let owner = account()?.id
subscribe(() => {
  if (account()?.id === owner) return
  owner = account()?.id
  for (const subscription of running) subscription.unsubscribe()
})

export function fetcher({ query, variables, operationName }) {
  const operation = find(query, operationName)
  const payload = { query, variables, operationName: operation?.name?.value ?? (operationName || undefined) }
  return operation?.operation === 'subscription' ? watch(payload, operation) : run(payload)
}

// find reads the text itself: what GraphiQL knows of it is a moment old after a tab was opened.
function find(query, name) {
  try {
    const document = parse(query)
    return getOperationAST(document, name) ?? getOperationAST(document)
  } catch {
    return null // the server says what is wrong with it
  }
}

// run gives what there is to show: GraphiQL would show an error it throws with a stack.
async function run(payload) {
  try {
    const result = await postOwn(payload)
    remember(result.data)
    return result
  } catch (error) {
    return errors(error)
  }
}

// position is where the event stream is now: a subscription that begins after it loses nothing when its connection
// breaks before the first event.
async function position() {
  const { data } = await post({ query: '{ eventCursor }' }, await token())
  return data?.eventCursor ?? null
}

// watch gives an observable of everything received so far, newest event first. Deltas of an answer are also joined.
function watch(payload, operation) {
  const resumes = operation.variableDefinitions?.some(({ variable }) => variable.name.value === 'after')
  return {
    subscribe(observer) {
      const events = []
      const answers = new Map()
      let count = 0
      let stop = null
      let isOver = false
      const end = () => {
        isOver = true
        running.delete(subscription)
        if (!running.size && status === 'waiting') setStatus('closed')
      }
      const show = (more) => observer.next({ ...(count && { received: count, ...join(answers), events: [...events] }), ...more })
      const fail = (problem) => {
        if (isOver) return
        end()
        show(errors(problem)) // below what came before it; observer.error would show a stack, or errors within errors
        observer.complete()
      }
      const begin = async () => {
        if (resumes && !payload.variables?.after) payload.variables = { ...payload.variables, after: await position() }
        if (isOver) return
        stop = client.subscribe(payload, {
          next(result) {
            remember(result.data)
            const event = result.data && Object.values(result.data)[0]
            // graphql-ws sends this same object again after a reconnect.
            if (resumes && event?.cursor) payload.variables = { ...payload.variables, after: event.cursor }
            events.unshift(result.errors ? result : result.data)
            events.length = Math.min(events.length, shown)
            count++
            append(answers, event)
            show()
          },
          error: fail,
          complete() {
            end()
            observer.complete()
          },
        })
      }
      const subscription = {
        unsubscribe() {
          end()
          stop?.()
        },
      }
      running.add(subscription)
      begin().catch(fail)
      return subscription
    },
  }
}

// append adds a delta to its answer; a higher attempt begins anew, and the stored message has the last word.
function append(answers, event) {
  if (event?.text !== undefined && event.messageId) {
    const before = answers.get(event.messageId)
    const text = before && before.attempt === event.attempt ? before.text.slice(0, event.offset) + event.text : event.text
    answers.set(event.messageId, { attempt: event.attempt, text })
  } else if (event?.message?.role === 'ASSISTANT' && event.message.content && event.kind !== 'STARTED') {
    answers.set(event.message.id, { attempt: event.message.attempt, text: event.message.content })
  }
}

const join = (answers) => answers.size && { answers: [...answers.values()].map(({ text }) => text) }

// errors makes a result of what the server refused, of what was thrown, or of a socket's end.
function errors(problem) {
  if (Array.isArray(problem)) return { errors: problem }
  if (problem instanceof Error) return { errors: [{ message: problem.message }] }
  const reason = problem?.reason || 'The connection was lost.'
  return { errors: [{ message: account() ? reason : `${reason} Sign in to subscribe.` }] }
}

/** upload stores a file as a document and gives it. */
export async function upload(file) {
  const query = `mutation Upload($input: UploadDocumentInput!) { uploadDocument(input: $input) { id title status } }`
  const form = new FormData()
  form.append('operations', JSON.stringify({ query, variables: { input: { file: null, title: file.name } } }))
  form.append('map', JSON.stringify({ 0: ['variables.input.file'] }))
  form.append('0', file)
  const result = await postOwn(form)
  if (result.errors) throw new Error(result.errors[0].message)
  remember(result.data)
  return result.data.uploadDocument
}
