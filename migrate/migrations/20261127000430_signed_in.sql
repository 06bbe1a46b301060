-- When the user signed in, copied at each refresh. The default lets a replica of before this go on.
ALTER TABLE "sessions" ADD COLUMN "signed_in_at" timestamptz NOT NULL DEFAULT now();
UPDATE "sessions" s SET "signed_in_at" = coalesce((SELECT f."created_at" FROM "sessions" f WHERE f."id" = s."family_id"), s."created_at");
-- Create index "document_tags" to table: "documents"
CREATE INDEX "document_tags" ON "documents" USING GIN ("tags");
