-- create_meta: What the journal knows about itself (boot id, clock, version of the writer).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- create_tasks: The state of every task. These rows are what counts.
CREATE TABLE tasks (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL,
  box          TEXT NOT NULL,
  dropped      TEXT NOT NULL,
  result_name  TEXT NOT NULL,
  name         TEXT NOT NULL,
  key          TEXT NOT NULL,
  spec         TEXT NOT NULL,
  body_sha256  TEXT NOT NULL,
  submitted_at REAL NOT NULL,
  updated_at   REAL NOT NULL,
  priority     INTEGER NOT NULL,
  state        TEXT NOT NULL,
  attempt      INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  losses       INTEGER NOT NULL,
  not_before   REAL NOT NULL,
  memory_bytes INTEGER NOT NULL,
  lease        TEXT,
  ending       TEXT,
  history      TEXT,
  twin_of      TEXT,
  CHECK (state IN ('waiting', 'queued', 'held', 'running',
                   'delivering', 'done', 'failed', 'cancelled')),
  CHECK ((state = 'running') = (lease IS NOT NULL)),
  CHECK ((state IN ('delivering', 'done', 'failed', 'cancelled')) = (ending IS NOT NULL)),
  CHECK (state <> 'waiting' OR twin_of IS NOT NULL),
  CHECK (attempt >= 0 AND failures >= 0 AND losses >= 0),
  CHECK (state <> 'running' OR attempt > 0)
);

-- create_tasks_by_id: An id is never used twice.
CREATE UNIQUE INDEX tasks_by_id ON tasks (id);

-- create_open_tasks: What a start has to load, however many tasks are done.
CREATE INDEX open_tasks ON tasks (seq)
WHERE state NOT IN ('done', 'failed', 'cancelled');

-- create_tasks_by_key: The tasks that were given a key.
CREATE INDEX tasks_by_key ON tasks (key) WHERE key <> '';

-- create_events: The story of each task. History only: it may be pruned.
CREATE TABLE events (
  task  INTEGER NOT NULL,
  n     INTEGER NOT NULL,
  wall  REAL NOT NULL,
  state TEXT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;

-- insert_task: A task that was accepted.
INSERT INTO tasks (
  seq, id, box, dropped, result_name, name, key, spec, body_sha256, submitted_at, updated_at,
  priority, state, attempt, failures, losses, not_before, memory_bytes,
  lease, ending, history, twin_of
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- update_task: A transition that may have changed anything but what was asked for.
UPDATE tasks SET
  result_name = ?, updated_at = ?, priority = ?, state = ?, attempt = ?, failures = ?,
  losses = ?, not_before = ?, memory_bytes = ?, lease = ?, ending = ?, history = ?, twin_of = ?
WHERE seq = ?;

-- update_lease: The commonest transitions to RUNNING.
UPDATE tasks SET updated_at = ?, state = ?, attempt = ?, lease = ?, losses = ? WHERE seq = ?;

-- update_state: A transition that changed nothing but the state (delivered).
UPDATE tasks SET updated_at = ?, state = ? WHERE seq = ?;

-- insert_event: What happened to one task in one tick.
INSERT INTO events (task, n, wall, state, facts) VALUES (?, ?, ?, ?, ?);

-- put_meta: One thing that the journal knows about itself.
INSERT INTO meta (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- get_meta: All of it.
SELECT key, value FROM meta;

-- highest_seq: The number of the newest task.
SELECT coalesce(max(seq), 0) FROM tasks;

-- highest_event: The number of the newest event of the newest task, or of any where tasks were pruned.
SELECT coalesce(max(n), 0) FROM events;

-- load_open: Every task that is not final, in order of acceptance.
SELECT * FROM tasks WHERE state NOT IN ('done', 'failed', 'cancelled') ORDER BY seq;

-- get_task: One task, whatever its state.
SELECT * FROM tasks WHERE id = ?;

-- tasks_by_key: Every task with this key, the first one first.
SELECT * FROM tasks WHERE key = ? AND key <> '' ORDER BY seq;

-- shift_backoffs: Another boot: its clock starts anew, what remains of a backoff is still to pass.
UPDATE tasks SET not_before = max(0, not_before - :then) + :now
WHERE not_before > 0 AND state NOT IN ('done', 'failed', 'cancelled');

-- prune_tasks: Forget tasks that ended before a moment, with their story; some at a time.
DELETE FROM tasks WHERE seq IN (
  SELECT seq FROM tasks
  WHERE state IN ('done', 'failed', 'cancelled') AND updated_at < :before LIMIT :most
);

-- prune_orphaned_events: The story of tasks that were forgotten; some at a time.
DELETE FROM events WHERE task NOT IN (SELECT seq FROM tasks);

-- prune_events: Forget what happened to ended tasks before a moment.
DELETE FROM events WHERE wall < :before AND task NOT IN (
  SELECT seq FROM tasks WHERE state NOT IN ('done', 'failed', 'cancelled')
);
