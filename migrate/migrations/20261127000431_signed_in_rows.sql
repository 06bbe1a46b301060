-- Apart, so that no lock on the table is held meanwhile.
UPDATE "sessions" s SET "signed_in_at" = coalesce((SELECT f."created_at" FROM "sessions" f WHERE f."id" = s."family_id"), s."created_at");
