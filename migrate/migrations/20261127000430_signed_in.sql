-- When the user signed in, copied at each refresh. The default lets a replica of before this go on.
ALTER TABLE "sessions" ADD COLUMN "signed_in_at" timestamptz NOT NULL DEFAULT now();
