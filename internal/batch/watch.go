package batch

import "cdsa.dev/cdsa/ent"

// Watch has the client's queries noted, of the entities of which something is derived by a statement.
func Watch(c *ent.Client) {
	c.AuditLog.Intercept(Noting[ent.AuditLog]{})
	c.ChatMessage.Intercept(Noting[ent.ChatMessage]{})
	c.ChatSession.Intercept(Noting[ent.ChatSession]{})
	c.Document.Intercept(Noting[ent.Document]{})
	c.ToolApproval.Intercept(Noting[ent.ToolApproval]{})
	c.ToolExecution.Intercept(Noting[ent.ToolExecution]{})
	c.User.Intercept(Noting[ent.User]{})
}
