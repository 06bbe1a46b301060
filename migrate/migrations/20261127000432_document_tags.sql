-- Create index "document_tags" to table: "documents"
CREATE INDEX "document_tags" ON "documents" USING GIN ("tags");
