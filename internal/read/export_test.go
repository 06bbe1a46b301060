package read

import (
	"maps"
	"slices"
)

// DirectFields lists the fields that Answer writes, by type.
func DirectFields() map[string][]string {
	return map[string][]string{
		"ChatSession": slices.Collect(maps.Keys(sessions.direct)), "ChatMessage": slices.Collect(maps.Keys(messages.direct)),
		"ToolExecution": slices.Collect(maps.Keys(executions.direct)), "Tool": slices.Collect(maps.Keys(tools.direct)),
		"AuditLog": slices.Collect(maps.Keys(auditRows.direct)), "PageInfo": slices.Collect(maps.Keys(pageInfo)),
	}
}
