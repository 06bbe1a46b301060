-- The job queue: migration 008 of github.com/riverqueue/river v0.51.1 (MPL-2.0).
-- No-op. Postgres sequences already prevent automatically generated job IDs
-- from being reused.
SELECT 1;
