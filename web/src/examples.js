// What the server is for, step by step. "$name" in variables is filled in from earlier results (known.js).

export const welcome = `# Sign in at the top, then open the examples and walk through them.
query Hello {
  serverInfo { version registration chatModels { name provider isDefault } }
  viewer { username permissions }
}
`

const document = `Handbook of the night shift

The generator room is locked at 22:00. The key is kept by the shift supervisor.
Fuel deliveries are accepted until 18:30 and must be signed for by two people.
The emergency generator starts by itself when the mains fail for longer than 12 seconds.
Personal records of visitors are deleted after 90 days.`

export const examples = [
  {
    who: 'analyst',
    title: 'Add a document',
    hint: 'Or choose a file with “Upload” at the top.',
    query: `mutation AddDocument($input: CreateDocumentInput!) {
  createDocument(input: $input) { id title status fileSize }
}
`,
    variables: { input: { title: 'Night shift', content: document } },
  },
  {
    who: 'analyst',
    title: 'Watch documents being indexed',
    hint: 'Run it, then choose a file with “Upload”.',
    query: `subscription WatchDocuments($after: EventCursor) {
  documentEvents(after: $after) { cursor at status progress gap document { id title chunkCount processingError } }
}
`,
    variables: { after: null },
  },
  {
    who: 'analyst',
    title: 'Search documents',
    query: `query Search($input: SearchDocumentsInput!) {
  searchDocuments(input: $input) {
    tookMs
    hits { rank score vectorRank keywordRank snippet grantedBy document { id title } }
  }
}
`,
    variables: { input: { query: 'When does the generator start?', limit: 5 } },
  },
  {
    who: 'analyst',
    title: 'Start a conversation',
    query: `mutation StartConversation($input: CreateChatSessionInput!) {
  createChatSession(input: $input) { id title model eventCursor }
}
`,
    variables: { input: { title: 'Questions about the night shift' } },
  },
  {
    who: 'analyst',
    title: 'Ask a question',
    query: `mutation Ask($input: SendMessageInput!) {
  sendMessage(input: $input) { eventCursor message { id } reply { id status } }
}
`,
    variables: { input: { sessionId: '$sessionId', content: 'When does the emergency generator start?' } },
  },
  {
    who: 'analyst',
    title: 'Ask for something sensitive',
    hint: 'http_request is of HIGH risk: the answer waits until an approver has decided.',
    query: `mutation AskForATool($input: SendMessageInput!) {
  sendMessage(input: $input) { eventCursor message { id } reply { id status } }
}
`,
    variables: {
      input: {
        sessionId: '$sessionId',
        content: 'Who keeps the key? Then /http_request {"method": "GET", "url": "https://example.com/"}',
      },
    },
  },
  {
    who: 'analyst',
    title: 'Watch the conversation',
    hint: 'It begins before the last message and goes on live, until you stop it or open another example.',
    query: `subscription WatchConversation($sessionId: ID!, $after: EventCursor) {
  chatEvents(sessionId: $sessionId, after: $after) {
    __typename
    ... on ChatTokenDelta { cursor at messageId attempt offset text }
    ... on ChatMessageEvent { cursor at kind message { id role status attempt content citations { documentId start end quote } } }
    ... on ChatToolEvent { cursor at execution { id status argsHash approvalId tool { name } } approval { id state } }
    ... on ChatGap { cursor at reason }
  }
}
`,
    variables: { sessionId: '$sessionId', after: '$after' },
  },
  {
    who: 'analyst',
    title: 'Read the conversation',
    query: `query Conversation($sessionId: ID!) {
  node(id: $sessionId) {
    ... on ChatSession {
      title
      messages(last: 20) { edges { node { role status content citations { documentId start end quote } } } }
      toolExecutions(last: 10) { edges { node { id status tool { name } approval { state } } } }
    }
  }
}
`,
    variables: { sessionId: '$sessionId' },
  },
  {
    who: 'analyst',
    title: 'Call a tool yourself',
    query: `mutation CallTool($input: ExecuteToolInput!) {
  executeTool(input: $input) { id status effectiveRisk approvalId argsHash }
}
`,
    variables: {
      input: { tool: 'http_request', parameters: { method: 'GET', url: 'https://example.com/' }, justification: 'To see whether the page is up.' },
    },
  },
  {
    who: 'admin',
    title: 'Make an approver and an auditor',
    hint: 'Write a password for each of them. Nobody approves their own requests.',
    query: `mutation MakeColleagues($approver: CreateUserInput!, $auditor: CreateUserInput!) {
  approver: createUser(input: $approver) { id username roles { name } }
  auditor: createUser(input: $auditor) { id username roles { name } }
}
`,
    variables: {
      approver: { email: 'approver@example.org', username: 'approver', password: '', roles: ['approver'] },
      auditor: { email: 'auditor@example.org', username: 'auditor', password: '', roles: ['auditor'] },
    },
  },
  {
    who: 'approver',
    title: 'Watch requests for approval',
    hint: 'Sign in as the approver in another browser tab: each tab has its own account.',
    query: `subscription WatchApprovals($after: EventCursor) {
  approvalEvents(after: $after) {
    cursor at kind gap
    approval { id state argsHash justification expiresAt user { username } execution { id status parameters tool { name riskLevel } } }
  }
}
`,
    variables: { after: null },
  },
  {
    who: 'approver',
    title: 'List requests for approval',
    query: `query Requests {
  toolApprovals(first: 10, orderBy: { field: CREATED_AT, direction: DESC }, state: [PENDING, PARTIALLY_APPROVED]) {
    totalCount
    edges { node { id state viewerCanDecide argsHash justification user { username } execution { parameters tool { name } } } }
  }
}
`,
    variables: {},
  },
  {
    who: 'approver',
    title: 'Approve',
    hint: 'The hash is of what was shown: a request that changed since cannot be approved with it.',
    query: `mutation Approve($input: ApproveToolExecutionInput!) {
  approveToolExecution(input: $input) { id state useBy decisions { approved at approver { username } } execution { status } }
}
`,
    variables: { input: { approvalId: '$approvalId', argsHash: '$argsHash', comment: 'Seen and fine.' } },
  },
  {
    who: 'auditor',
    title: 'Read the audit log',
    query: `query AuditLog {
  auditLogs(first: 50, orderBy: { field: CREATED_AT, direction: DESC }) {
    edges { node { createdAt action success actorKind username resourceType resourceId details } }
  }
}
`,
    variables: {},
  },
]
