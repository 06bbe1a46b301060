// What the address brings: a provider's answer (?code&state&iss) or a mailed link (#reset=, #verify=, #invite=). It is
// taken when the page loads and removed from the address bar and the history at once; it is stored nowhere.

const looksMailed = /^#(reset|verify|invite)\b/

function take() {
  const query = new URLSearchParams(location.search)
  const [, kind, token] = /^#(reset|verify|invite)=([\w.~-]{1,500})$/.exec(location.hash) ?? []
  const isAnswer = query.has('state') && (query.has('code') || query.has('error'))
  const isLink = looksMailed.test(location.hash)
  if (!isAnswer && !isLink) return {}
  const at = location.origin + location.pathname
  history.replaceState(null, '', '/')
  if (!isAnswer && !kind) return { notice: 'This is a part of a mailed link, or more than one. Copy all of the link from the mail, on one line.' }
  if (!isAnswer) return { link: { kind, token } }
  const [code, state, iss, error] = ['code', 'state', 'iss', 'error'].map((name) => query.get(name))
  return { answer: { at, code, state, iss, error } }
}

export const arrival = take()

// A mailed link that is opened in a tab of this page changes the fragment alone: begin anew, with nothing in between.
addEventListener('hashchange', () => looksMailed.test(location.hash) && location.reload())
