// Runs every audit against the server at argv[2] as a signed-in caller and prints one JSON line an audit.
import { serverAudits } from 'graphql-http';

const fetchFn = (url, init = {}) =>
  fetch(url, { ...init, headers: { ...init.headers, authorization: 'Bearer test' } });
for (const audit of serverAudits({ url: process.argv[2], fetchFn })) {
  const result = await audit.fn();
  console.log(JSON.stringify({ id: audit.id, name: audit.name, status: result.status, reason: result.reason ?? '' }));
}
