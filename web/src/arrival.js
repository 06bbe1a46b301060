// What the address brings: a provider's answer (?code&state) or a mailed link (#reset=, #verify=, #invite=). It is
// taken when the page loads and removed from the address bar and the history at once; it is stored nowhere.

function take() {
  const query = new URLSearchParams(location.search)
  const [, kind, token] = /^#(reset|verify|invite)=([\w.~-]{1,500})$/.exec(location.hash) ?? []
  const isAnswer = query.has('state') && (query.has('code') || query.has('error'))
  if (!isAnswer && !kind) return {}
  history.replaceState(null, '', location.pathname)
  return isAnswer ? { answer: { code: query.get('code'), state: query.get('state'), error: query.get('error') } } : { link: { kind, token } }
}

export const arrival = take()

// A mailed link that is opened in a tab of this page changes the fragment alone: begin anew, with nothing in between.
addEventListener('hashchange', () => /^#(reset|verify|invite)=/.test(location.hash) && location.reload())
