-- create_meta: What the journal knows about itself (boot id, clock, version of the writer).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- create_states: The numbers of the states. Open ones are below 5: checks and indexes stay cheap.
CREATE TABLE states (
  state INTEGER PRIMARY KEY,
  name  TEXT NOT NULL
);

-- create_states_rows: What the numbers mean.
INSERT INTO states VALUES (0, 'waiting'), (1, 'queued'), (2, 'held'), (3, 'running'),
  (4, 'delivering'), (5, 'done'), (6, 'failed'), (7, 'cancelled'), (-1, 'expanding'),
  (-2, 'validating');

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
  state        INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  losses       INTEGER NOT NULL,
  not_before   REAL NOT NULL,
  memory_bytes INTEGER NOT NULL,
  lease        TEXT,
  ending       TEXT,
  history      TEXT,
  twin_of      TEXT,
  result_kept  INTEGER NOT NULL DEFAULT 1,
  saved        TEXT,
  since        INTEGER NOT NULL DEFAULT 0,
  waits        INTEGER NOT NULL DEFAULT 0,
  after        TEXT,
  array        TEXT,
  position     INTEGER,
  element      TEXT,
  tally        TEXT,
  ballot       TEXT,
  CHECK (state BETWEEN -1 AND 7 OR (state = -2 AND ballot IS NOT NULL)),
  CHECK ((state = 3 AND ballot IS NULL) = (lease IS NOT NULL)),
  CHECK ((state >= 4) = (ending IS NOT NULL)),
  CHECK (state <> 0 OR twin_of IS NOT NULL OR waits = 1),
  CHECK (state <> 3 OR attempt > 0 OR ballot IS NOT NULL)
);

-- create_tasks_by_id: An id is never used twice.
CREATE UNIQUE INDEX tasks_by_id ON tasks (id);

-- create_open_tasks: What a start has to load, however many tasks are done.
CREATE INDEX open_tasks ON tasks (seq)
WHERE state < 5;

-- create_ended_tasks: What retention goes through; also counts, without reading the tasks.
CREATE INDEX ended_tasks ON tasks (result_kept, updated_at, state) WHERE state >= 5;

-- create_retryable_tasks: Ended tasks whose files are kept, so that they can run once more.
CREATE INDEX retryable_tasks ON tasks (seq) WHERE state >= 6;

-- create_tasks_by_key: The tasks that were given a key.
CREATE INDEX tasks_by_key ON tasks (key) WHERE key <> '';

-- create_successors: The tasks that came with an `after`.
CREATE INDEX successors ON tasks (seq) WHERE after IS NOT NULL;

-- create_tasks_of_files: Tasks that have a file of their own: a list of them need not go through
-- the elements of every array.
CREATE INDEX tasks_of_files ON tasks (seq) WHERE array IS NULL;

-- create_arrays: The arrays among them.
CREATE INDEX arrays ON tasks (seq) WHERE tally IS NOT NULL;

-- create_unsuccessful_elements: What a retry of an array goes through.
CREATE INDEX unsuccessful_elements ON tasks (array, position)
WHERE array IS NOT NULL AND state >= 6;

-- create_replicas: The replicas of tasks with redundancy, which have a `ballot`.
CREATE TABLE replicas (
  task         INTEGER NOT NULL,
  number       INTEGER NOT NULL,
  state        TEXT NOT NULL,
  attempt      INTEGER NOT NULL,
  lease        TEXT,
  spot         TEXT,
  until        REAL NOT NULL,
  overdue      INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  losses       INTEGER NOT NULL,
  not_before   REAL NOT NULL,
  staged       INTEGER,
  body_bytes   INTEGER NOT NULL,
  digest       TEXT NOT NULL,
  files        INTEGER NOT NULL,
  verdict      TEXT NOT NULL,
  message      TEXT NOT NULL,
  history      TEXT,
  memory_bytes INTEGER NOT NULL,
  saved        TEXT,
  since        INTEGER NOT NULL,
  PRIMARY KEY (task, number),
  CHECK ((state = 'running') = (lease IS NOT NULL)),
  CHECK ((state IN ('reported', 'valid', 'invalid')) = (staged IS NOT NULL))
) WITHOUT ROWID;

-- create_hosts: What is known of each host from what it returned; `machine` is its id.
CREATE TABLE hosts (
  machine           TEXT PRIMARY KEY,
  name              TEXT NOT NULL,
  valid             INTEGER NOT NULL,
  invalid           INTEGER NOT NULL,
  errors            INTEGER NOT NULL,
  alone             INTEGER NOT NULL,
  consecutive_valid INTEGER NOT NULL,
  last_seen         REAL NOT NULL,
  recent            INTEGER NOT NULL,
  recent_count      INTEGER NOT NULL,
  paused            TEXT NOT NULL,
  paused_by_hand    INTEGER NOT NULL,
  probe_at          REAL NOT NULL,
  pauses            INTEGER NOT NULL
) WITHOUT ROWID;

-- create_events: The story of each task. History only: it may be pruned.
CREATE TABLE events (
  task  INTEGER NOT NULL,
  n     INTEGER NOT NULL,
  wall  REAL NOT NULL,
  state INTEGER NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;

-- insert_task: A task that was accepted.
INSERT INTO tasks (
  seq, id, box, dropped, result_name, name, key, spec, body_sha256, submitted_at, updated_at,
  priority, state, attempt, failures, losses, not_before, memory_bytes,
  lease, ending, history, twin_of, waits, after, array, position, element, tally
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- insert_voted_task: The same with redundancy (a column that is not named costs the others nothing).
INSERT INTO tasks (
  seq, id, box, dropped, result_name, name, key, spec, body_sha256, submitted_at, updated_at,
  priority, state, attempt, failures, losses, not_before, memory_bytes,
  lease, ending, history, twin_of, waits, after, array, position, element, tally, ballot
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- update_task: A transition that may have changed anything but what was asked for.
UPDATE tasks SET
  result_name = ?, updated_at = ?, priority = ?, state = ?, attempt = ?, failures = ?,
  losses = ?, not_before = ?, memory_bytes = ?, lease = ?, ending = ?, history = ?, twin_of = ?,
  waits = ?, after = ?, tally = ?, result_kept = 1
WHERE seq = ?;

-- update_course: A transition that changed nothing but how its attempts go (reported, lost).
UPDATE tasks SET
  updated_at = ?, state = ?, losses = ?, lease = ?, ending = ?, history = ? WHERE seq = ?;

-- update_saved: The newest checkpoint, or from which attempt on they count.
UPDATE tasks SET saved = ?, since = ? WHERE seq = ?;

-- update_ballot: How far a vote is.
UPDATE tasks SET ballot = ? WHERE seq = ?;

-- update_state: A transition that changed nothing but the state (delivered).
UPDATE tasks SET updated_at = ?, state = ? WHERE seq = ?;

-- put_replica: A replica of a task with redundancy, as it stands now.
INSERT OR REPLACE INTO replicas VALUES (
  ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- drop_replicas: The replicas of an earlier vote that the new one has not so many of.
DELETE FROM replicas WHERE task = ? AND number >= ?;

-- replicas_of: The replicas of one task.
SELECT * FROM replicas WHERE task = ? ORDER BY number;

-- reported_results: The results that wait in `stage/` to be compared, or to be accepted by hand.
SELECT tasks.id, replicas.number, replicas.staged, replicas.body_bytes, tasks.state
FROM replicas JOIN tasks ON tasks.seq = replicas.task
WHERE replicas.state = 'reported' ORDER BY replicas.task, replicas.number;

-- put_host: What is known of a host now.
INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- hosts: What is known of all hosts.
SELECT * FROM hosts ORDER BY name, machine;

-- migrate_checks_of_votes: A task with redundancy runs without a lease of its own, and has one more
-- state. Every row fulfils the checks as they are now, so only the text of the table changes.
UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
  'CHECK (state BETWEEN -1 AND 7)',
  'CHECK (state BETWEEN -1 AND 7 OR (state = -2 AND ballot IS NOT NULL))'),
  'CHECK ((state = 3) = (lease IS NOT NULL))',
  'CHECK ((state = 3 AND ballot IS NULL) = (lease IS NOT NULL))'),
  'CHECK (state <> 3 OR attempt > 0)',
  'CHECK (state <> 3 OR attempt > 0 OR ballot IS NOT NULL)')
WHERE type = 'table' AND name = 'tasks';

-- migrate_check_of_states: There is one more state. What the table holds stays as it is, so only
-- its text changes (SQLite's own way to loosen a CHECK).
UPDATE sqlite_schema SET sql =
  replace(sql, 'CHECK (state BETWEEN 0 AND 7)', 'CHECK (state BETWEEN -1 AND 7)')
WHERE type = 'table' AND name = 'tasks';

-- insert_event: What happened to one task in one tick.
INSERT INTO events (task, n, wall, state, facts) VALUES (?, ?, ?, ?, ?);

-- put_meta: One thing that the journal knows about itself.
INSERT INTO meta (key, value) VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- get_meta: All of it.
SELECT key, value FROM meta;

-- highest_seq: The number of the newest task.
SELECT coalesce(max(seq), 0) FROM tasks;

-- load_open: Every task that is not final, in order of acceptance.
SELECT * FROM tasks WHERE state < 5 ORDER BY seq;

-- get_task: One task, whatever its state.
SELECT * FROM tasks WHERE id = ?;

-- known_ids: Which of these ids (a JSON list) some task has.
SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?));

-- tasks_by_key: Every task with this key, the first one first.
SELECT * FROM tasks WHERE key = ? AND key <> '' ORDER BY seq;

-- good_by_key: The first task with this key that was not failed or cancelled.
SELECT * FROM tasks WHERE key = ? AND key <> '' AND state < 6 ORDER BY seq LIMIT 1;

-- last_by_key: The last task with this key.
SELECT * FROM tasks WHERE key = ? AND key <> '' ORDER BY seq DESC LIMIT 1;

-- index_names: Made when somebody first waits for a task by its name: only who does pays for it.
CREATE INDEX IF NOT EXISTS tasks_by_name ON tasks (name, box);

-- newest_named: The task of this name in this box that was accepted last.
SELECT id FROM tasks WHERE name = ? AND box = ? ORDER BY seq DESC LIMIT 1;

-- predecessors: Whom each task that came with an `after` is to run after.
SELECT id, after FROM tasks INDEXED BY successors WHERE after IS NOT NULL ORDER BY seq;

-- failed_successors: The failed tasks among those that came with an `after`.
SELECT * FROM tasks INDEXED BY successors WHERE after IS NOT NULL AND state = 6 ORDER BY seq;

-- owners_of_ids: Of these ids (a JSON list), those that some task has, and whose elements they are.
SELECT id, array FROM tasks WHERE id IN (SELECT value FROM json_each(?));

-- element_counts: How the elements of one array that have rows stand.
SELECT state, count(*) FROM tasks
WHERE id >= :low AND id < :high AND array = :array GROUP BY state;

-- elements_to_retry: Ended elements of an array, from a position on, in order.
SELECT * FROM tasks INDEXED BY unsuccessful_elements
WHERE array = :array AND position >= :position AND state >= 6
  AND (state = 6 OR :all) ORDER BY position LIMIT :most;

-- array_of: The array that has an id in common with its elements, but for six digits.
SELECT * FROM tasks WHERE id >= :low AND id < :high AND tally IS NOT NULL
  AND substr(id, 19) = :rest LIMIT 1;

-- arrays_named: The arrays that have this name, or whose result has it; the newest first.
SELECT * FROM tasks INDEXED BY arrays
WHERE tally IS NOT NULL AND (name = :text OR result_name = :text) ORDER BY seq DESC;

-- open_arrays: Arrays that have not ended.
SELECT * FROM tasks INDEXED BY arrays WHERE tally IS NOT NULL AND state < 5 ORDER BY seq;

-- shift_backoffs: Another boot: its clock starts anew, what remains of a backoff is still to pass.
UPDATE tasks SET not_before = max(0, not_before - :then) + :now
WHERE not_before > 0 AND state < 5;

-- shift_deadlines: The same of the replicas: their backoffs, and what is left of their deadlines.
UPDATE replicas SET
  not_before = CASE WHEN not_before > 0 THEN max(0, not_before - :then) + :now ELSE 0 END,
  until = CASE WHEN until > 0 THEN max(0, until - :then) + :now ELSE 0 END
WHERE (not_before > 0 OR until > 0)
  AND task IN (SELECT seq FROM tasks WHERE state < 5 AND ballot IS NOT NULL);

-- shift_judgings: The same of validations that are tried again.
UPDATE tasks SET ballot = json_set(ballot, '$.judge_after',
  max(0, json_extract(ballot, '$.judge_after') - :then) + :now)
WHERE state < 5 AND ballot IS NOT NULL AND json_extract(ballot, '$.judge_after') > 0;

-- ended_before: Tasks that ended before a moment; the elements of an array that goes on stay.
SELECT * FROM tasks
WHERE state >= 5 AND result_kept IN (0, 1) AND updated_at < :before
  AND (array IS NULL OR array NOT IN (
    SELECT id FROM tasks INDEXED BY arrays WHERE tally IS NOT NULL AND state < 5))
LIMIT :most;

-- ended_with_results: Tasks that ended before a moment and whose results were not seen to yet.
SELECT * FROM tasks
WHERE state >= 5 AND result_kept = 1 AND updated_at < :before LIMIT :most;

-- note_result_pruned: Retention has seen to the result of an ended task.
UPDATE tasks SET result_kept = 0 WHERE id = ?;

-- ended_counts: How many tasks ended, and how.
SELECT states.name, count(*) FROM tasks INDEXED BY ended_tasks
JOIN states ON states.state = tasks.state WHERE tasks.state >= 5 GROUP BY tasks.state;

-- retryable: Ended tasks that can run once more and may need input files or values for it, or
-- results that somebody may yet accept. Those of elements are their array's.
SELECT * FROM tasks INDEXED BY retryable_tasks WHERE state >= 6 AND array IS NULL
  AND (spec LIKE '%"inputs"%' OR spec LIKE '%"array"%' OR after IS NOT NULL
    OR ballot IS NOT NULL) ORDER BY seq;

-- forget_story: Everything that happened to an ended task.
DELETE FROM events WHERE task = (SELECT seq FROM tasks WHERE id = ? AND state >= 5);

-- forget_replicas: The replicas of an ended task.
DELETE FROM replicas WHERE task = (SELECT seq FROM tasks WHERE id = ? AND state >= 5);

-- forget_task: An ended task.
DELETE FROM tasks WHERE id = ? AND state >= 5;

-- open_counts: How many open tasks stand where.
SELECT states.name, count(*) FROM tasks INDEXED BY open_tasks
JOIN states ON states.state = tasks.state WHERE tasks.state < 5 GROUP BY tasks.state;

-- list_open: Open tasks, of one state, box, name or key where one is given.
SELECT * FROM tasks WHERE state < 5
  AND (:state IS NULL OR state = :state) AND (:box IS NULL OR box = :box)
  AND (:name IS NULL OR name = :name) AND (:key IS NULL OR key = :key)

-- list_all: The same among all tasks but the elements of arrays.
SELECT * FROM tasks INDEXED BY tasks_of_files WHERE array IS NULL
  AND (:state IS NULL OR state = :state)
  AND (:box IS NULL OR box = :box) AND (:name IS NULL OR name = :name)
  AND (:key IS NULL OR key = :key)

-- list_every: The same among all tasks, with the elements of arrays.
SELECT * FROM tasks WHERE (:state IS NULL OR state = :state)
  AND (:box IS NULL OR box = :box) AND (:name IS NULL OR name = :name)
  AND (:key IS NULL OR key = :key)

-- list_elements: The same among the elements of one array.
SELECT * FROM tasks WHERE id >= :low AND id < :high AND array = :array
  AND (:state IS NULL OR state = :state)

-- list_by_key: The same among the tasks with one key.
SELECT * FROM tasks WHERE key = :key AND key <> ''
  AND (:state IS NULL OR state = :state)
  AND (:box IS NULL OR box = :box) AND (:name IS NULL OR name = :name)

-- list_recent: The tasks that ended last, the newest first.
SELECT * FROM (
  SELECT * FROM (SELECT * FROM tasks
    WHERE state >= 5 AND result_kept = 1 AND (:box IS NULL OR box = :box)
    ORDER BY updated_at DESC LIMIT :limit)
  UNION ALL
  SELECT * FROM (SELECT * FROM tasks
    WHERE state >= 5 AND result_kept = 0 AND (:box IS NULL OR box = :box)
    ORDER BY updated_at DESC LIMIT :limit)
) ORDER BY updated_at DESC LIMIT :limit;

-- ids_between: Tasks whose ids begin with a text (`:high` is what comes after all of them).
SELECT id FROM tasks WHERE id >= :low AND id < :high ORDER BY id LIMIT 1000;

-- ids_named: Tasks that have this name, or whose result has it; the newest first. (The elements of
-- arrays are found by their array's name.)
SELECT id FROM tasks INDEXED BY tasks_of_files
WHERE array IS NULL AND (name = :text OR result_name = :text) ORDER BY seq DESC;

-- story_of: What happened to one task, in order.
SELECT events.wall, events.state, events.facts FROM events
JOIN tasks ON tasks.seq = events.task WHERE tasks.id = ? ORDER BY events.n;

-- attempts_by_host: How the ended attempts went, for each agent and host.
SELECT
  json_extract(ran.value, '$[1]')                   AS agent,
  json_extract(ran.value, '$[7]')                   AS host,
  count(*)                                          AS attempts,
  sum(json_extract(ran.value, '$[2]') = 'success')  AS succeeded,
  sum(json_extract(ran.value, '$[2]') = 'error')    AS failed,
  sum(json_extract(ran.value, '$[2]') = 'lost')     AS lost,
  sum(json_extract(ran.value, '$[2]') = 'stopped')  AS stopped,
  sum(max(0, json_extract(ran.value, '$[10]') - json_extract(ran.value, '$[9]'))) AS wall_s,
  sum(json_extract(ran.value, '$[11]'))             AS cpu_s,
  max(json_extract(ran.value, '$[12]'))             AS memory_bytes
FROM (
  SELECT history FROM tasks WHERE history IS NOT NULL
  UNION ALL SELECT history FROM replicas WHERE history IS NOT NULL
) AS all_of_them, json_each(all_of_them.history) AS ran
GROUP BY agent, host ORDER BY agent, host;

-- all_files: What each task has in the spool; an element has nothing of its own.
SELECT id, box, dropped, state, spec FROM tasks INDEXED BY tasks_of_files
WHERE array IS NULL ORDER BY seq;
