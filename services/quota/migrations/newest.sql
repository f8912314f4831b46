-- Written by `make tables`. Do not edit.
CREATE TABLE adjustments (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        policy TEXT NOT NULL,
        limit_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        window_start_ms INTEGER NOT NULL,
        window_end_ms INTEGER NOT NULL,
        settled_before INTEGER NOT NULL,
        settled_after INTEGER NOT NULL,
        reason TEXT NOT NULL,
        adjusted_at_ms INTEGER NOT NULL
    );
CREATE TABLE admin_tokens (
        name TEXT NOT NULL PRIMARY KEY,
        role TEXT NOT NULL,
        team TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        hint TEXT NOT NULL,
        create_at_ms INTEGER NOT NULL,
        expire_at_ms INTEGER NOT NULL
    );
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0012');
CREATE TABLE allowances (policy TEXT NOT NULL, day_start_ms INTEGER NOT NULL, quota INTEGER NOT NULL, taken_nano_usd INTEGER NOT NULL, PRIMARY KEY (policy, day_start_ms, quota)) WITHOUT ROWID;
CREATE TABLE audit_entries (
        sequence INTEGER NOT NULL PRIMARY KEY,
        time_ms BIGINT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        action TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        reason TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        request_id TEXT NOT NULL
    );
CREATE TABLE counters (
        policy TEXT NOT NULL,
        limit_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        window_start_ms INTEGER NOT NULL,
        window_end_ms INTEGER NOT NULL,
        settled INTEGER NOT NULL,
        PRIMARY KEY (policy, limit_id, scope, window_start_ms)
    ) WITHOUT ROWID
    ;
CREATE TABLE "crossings" (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            policy TEXT NOT NULL,
            limit_id TEXT NOT NULL,
            scope TEXT NOT NULL,
            window_start_ms INTEGER NOT NULL,
            basis_points INTEGER NOT NULL,
            limit_text TEXT NOT NULL,
            notify TEXT NOT NULL,
            crossed_at_ms INTEGER NOT NULL,
            settled INTEGER NOT NULL,
            bound INTEGER NOT NULL,
            kind TEXT NOT NULL DEFAULT 'threshold',
            excess BIGINT NOT NULL DEFAULT 0,
            reservation TEXT NOT NULL DEFAULT '',
            UNIQUE (policy, limit_id, scope, window_start_ms, basis_points, kind)
        );
CREATE TABLE doubts (id TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, ends_first_ms INTEGER NOT NULL, request_id TEXT NOT NULL, epoch TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE environments (name TEXT NOT NULL PRIMARY KEY);
INSERT INTO "environments" VALUES('dev');
INSERT INTO "environments" VALUES('prod');
INSERT INTO "environments" VALUES('staging');
CREATE TABLE expectations (
        key_id TEXT NOT NULL,
        model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL, scales TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (key_id, model)
    ) WITHOUT ROWID
    ;
CREATE TABLE kept_reservations (place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, request_id TEXT NOT NULL, epoch TEXT NOT NULL, record TEXT NOT NULL, taken_nano_usd INTEGER NOT NULL);
CREATE TABLE key_rates (
            key_id TEXT NOT NULL PRIMARY KEY,
            usual_nano_usd INTEGER NOT NULL
        ) WITHOUT ROWID
        ;
CREATE TABLE organizations (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        name TEXT NOT NULL
    );
CREATE TABLE overrides (
        name TEXT NOT NULL PRIMARY KEY,
        policy TEXT NOT NULL,
        limit_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        bound INTEGER NOT NULL,
        create_at_ms INTEGER NOT NULL,
        expire_at_ms INTEGER NOT NULL,
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        UNIQUE (policy, limit_id, scope)
    );
CREATE TABLE policies (
        name TEXT NOT NULL PRIMARY KEY,
        body TEXT NOT NULL
    );
CREATE TABLE requests (
	id TEXT NOT NULL,
	actor TEXT NOT NULL,
	method TEXT NOT NULL,
	digest BLOB NOT NULL,
	salt BLOB NOT NULL,
	answer TEXT NOT NULL,
	create_ms BIGINT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE reservations (
        id TEXT NOT NULL PRIMARY KEY,
        request_id TEXT NOT NULL,
        epoch TEXT NOT NULL,
        record TEXT NOT NULL
    ) WITHOUT ROWID
    ;
CREATE TABLE retired_secrets (
        digest BLOB NOT NULL PRIMARY KEY,
        key TEXT NOT NULL,
        retire_at_ms INTEGER NOT NULL
    );
CREATE TABLE snapshots (
        name TEXT NOT NULL PRIMARY KEY,
        version TEXT NOT NULL,
        body BLOB NOT NULL
    );
CREATE TABLE teams (
        name TEXT NOT NULL PRIMARY KEY,
        projects TEXT NOT NULL,
        members TEXT NOT NULL
    );
CREATE TABLE virtual_keys (
        name TEXT NOT NULL PRIMARY KEY,
        key_id TEXT NOT NULL UNIQUE,
        team TEXT NOT NULL,
        project TEXT NOT NULL,
        environment TEXT NOT NULL,
        "user" TEXT NOT NULL,
        models TEXT NOT NULL,
        disabled BOOLEAN NOT NULL,
        expire_at_ms INTEGER,
        create_at_ms INTEGER NOT NULL,
        hint TEXT NOT NULL,
        declared BOOLEAN NOT NULL,
        digest BLOB UNIQUE,
        old_digest BLOB,
        old_until_ms INTEGER NOT NULL
    , unlimited BOOLEAN NOT NULL DEFAULT 0);
CREATE INDEX doubts_by_end ON doubts (ends_first_ms);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('crossings',0);
