-- A list of conversations is ordered by activity: a conversation never used stands where it was made.
ALTER TABLE chat_sessions ADD COLUMN activity_at timestamptz NULL GENERATED ALWAYS AS (COALESCE(last_message_at, created_at)) STORED;
CREATE INDEX chatsession_user_id_activity_at ON chat_sessions (user_id, activity_at);
DROP INDEX chatsession_user_id_last_message_at;
