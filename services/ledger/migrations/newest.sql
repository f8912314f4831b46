-- Written by `make tables`. Do not edit.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0019');
CREATE TABLE alert_channels (
	name TEXT NOT NULL,
	url TEXT NOT NULL,
	webhook TEXT NOT NULL,
	secret_env TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE "alerts" (
	sequence BIGINT NOT NULL,
	policy TEXT NOT NULL,
	"limit" TEXT NOT NULL,
	scope TEXT NOT NULL,
	window_start_ms BIGINT NOT NULL,
	basis_points BIGINT NOT NULL,
	notify JSON NOT NULL,
	crossed_ms BIGINT NOT NULL,
	settled BIGINT NOT NULL,
	bound BIGINT NOT NULL,
	delivered_ms BIGINT,
	kind TEXT DEFAULT 'threshold' NOT NULL,
	excess BIGINT DEFAULT 0 NOT NULL,
	call TEXT DEFAULT ('') NOT NULL, planned INTEGER DEFAULT '0' NOT NULL,
	PRIMARY KEY (sequence),
	CONSTRAINT alerts_once UNIQUE (policy, "limit", scope, window_start_ms, basis_points, kind)
);
CREATE TABLE attempts (
	request_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	time_ms BIGINT NOT NULL,
	status BIGINT NOT NULL,
	flags TEXT NOT NULL,
	details TEXT NOT NULL,
	duration_ms BIGINT NOT NULL,
	first_byte_ms BIGINT NOT NULL,
	cluster TEXT NOT NULL,
	failure TEXT NOT NULL,
	PRIMARY KEY (request_id, attempt)
)
 WITHOUT ROWID

;
CREATE TABLE audit_entries (
	sequence INTEGER NOT NULL,
	time_ms BIGINT NOT NULL,
	actor TEXT NOT NULL,
	role TEXT NOT NULL,
	action TEXT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	reason TEXT NOT NULL,
	"before" TEXT NOT NULL,
	"after" TEXT NOT NULL,
	request_id TEXT NOT NULL,
	PRIMARY KEY (sequence)
);
CREATE TABLE checked_limits (
	name TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE checkpoints (
	epoch TEXT NOT NULL,
	inode BIGINT NOT NULL,
	name TEXT NOT NULL,
	"offset" BIGINT NOT NULL,
	PRIMARY KEY (epoch, inode)
);
CREATE TABLE deliveries (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL,
	source TEXT NOT NULL,
	alert BIGINT NOT NULL,
	channel TEXT NOT NULL,
	created_ms BIGINT NOT NULL,
	state TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	due_ms BIGINT NOT NULL,
	ended_ms BIGINT,
	problem TEXT NOT NULL,
	CONSTRAINT deliveries_once UNIQUE (source, alert, channel),
	UNIQUE (id)
);
CREATE TABLE dropped_headers (
            day_ms BIGINT NOT NULL,
            provider TEXT NOT NULL,
            direction TEXT NOT NULL,
            name TEXT NOT NULL,
            calls BIGINT NOT NULL,
            PRIMARY KEY (day_ms, provider, direction, name)
        ) WITHOUT ROWID
        ;
CREATE TABLE entries (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL,
	request_id TEXT NOT NULL,
	epoch TEXT NOT NULL,
	time_ms BIGINT NOT NULL,
	duration_ms BIGINT NOT NULL,
	first_byte_ms BIGINT NOT NULL,
	booked_ms BIGINT NOT NULL,
	settled_ms BIGINT,
	status BIGINT NOT NULL,
	flags TEXT NOT NULL,
	details TEXT NOT NULL,
	key_id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	team TEXT NOT NULL,
	project TEXT NOT NULL,
	environment TEXT NOT NULL,
	user TEXT NOT NULL,
	tags TEXT NOT NULL,
	run TEXT NOT NULL,
	model_requested TEXT NOT NULL,
	model_served TEXT NOT NULL,
	response_model TEXT NOT NULL,
	chain TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	decision TEXT NOT NULL,
	policy TEXT NOT NULL,
	dialect TEXT NOT NULL,
	stream BOOLEAN NOT NULL,
	features TEXT NOT NULL,
	body_bytes BIGINT NOT NULL,
	bytes_sent BIGINT NOT NULL,
	prefix_1k TEXT NOT NULL,
	prefix_4k TEXT NOT NULL,
	prefix_16k TEXT NOT NULL,
	prefix_64k TEXT NOT NULL,
	trace_id TEXT NOT NULL,
	span_id TEXT NOT NULL,
	client_request_id TEXT NOT NULL,
	sdk_retry TEXT NOT NULL,
	usage_source TEXT NOT NULL,
	input_tokens BIGINT NOT NULL,
	cached_input_tokens BIGINT NOT NULL,
	cache_write_5m_tokens BIGINT NOT NULL,
	cache_write_1h_tokens BIGINT NOT NULL,
	output_tokens BIGINT NOT NULL,
	reasoning_tokens BIGINT NOT NULL,
	cost_nano_usd BIGINT, body_print TEXT DEFAULT '' NOT NULL, retry_of TEXT DEFAULT '' NOT NULL, admitted_ms BIGINT DEFAULT '0' NOT NULL, meters TEXT DEFAULT '' NOT NULL, service_tier TEXT DEFAULT '' NOT NULL, outcome TEXT NOT NULL DEFAULT '', most_cost_nano_usd BIGINT, most_input_tokens BIGINT, most_output_tokens BIGINT, answer_text_bytes BIGINT NOT NULL DEFAULT 0, unknown_members TEXT NOT NULL DEFAULT '', price_options TEXT NOT NULL DEFAULT '', downgraded TEXT NOT NULL DEFAULT '', left_out TEXT NOT NULL DEFAULT '', operation TEXT NOT NULL DEFAULT '',
	UNIQUE (id)
);
CREATE TABLE epochs (
	epoch TEXT NOT NULL,
	ended_ms BIGINT NOT NULL,
	cleared_ms BIGINT,
	PRIMARY KEY (epoch)
);
CREATE TABLE price_overrides (
	target TEXT NOT NULL,
	input BIGINT NOT NULL,
	cached_input BIGINT NOT NULL,
	cache_write_5m BIGINT NOT NULL,
	cache_write_1h BIGINT NOT NULL,
	output BIGINT NOT NULL,
	reasoning BIGINT NOT NULL,
	request_nano_usd BIGINT NOT NULL, rates TEXT DEFAULT '' NOT NULL, service_tiers TEXT DEFAULT '' NOT NULL,
	PRIMARY KEY (target)
);
CREATE TABLE priced_targets (
	target TEXT NOT NULL,
	catalogue_provider TEXT NOT NULL,
	upstream_model TEXT NOT NULL,
	PRIMARY KEY (target)
);
CREATE TABLE releases (
	request_id TEXT NOT NULL,
	PRIMARY KEY (request_id)
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
CREATE TABLE "rollups" (
            hour_ms BIGINT NOT NULL,
            team TEXT NOT NULL,
            project TEXT NOT NULL,
            environment TEXT NOT NULL,
            user TEXT NOT NULL,
            "key" TEXT NOT NULL,
            model_requested TEXT NOT NULL,
            model_served TEXT NOT NULL,
            status TEXT NOT NULL,
            calls BIGINT NOT NULL,
            input_tokens BIGINT NOT NULL,
            cached_input_tokens BIGINT NOT NULL,
            output_tokens BIGINT NOT NULL,
            cost_nano_usd BIGINT NOT NULL,
            unpriced_calls BIGINT NOT NULL,
            retries BIGINT DEFAULT '0' NOT NULL,
            operation TEXT DEFAULT '' NOT NULL,
            PRIMARY KEY (hour_ms, team, project, environment, user, "key", model_requested, model_served, status, operation)
        ) WITHOUT ROWID
        ;
CREATE TABLE settled_sums (
	hour_ms BIGINT NOT NULL,
	run TEXT NOT NULL,
	team TEXT NOT NULL,
	project TEXT NOT NULL,
	environment TEXT NOT NULL,
	user TEXT NOT NULL,
	"key" TEXT NOT NULL,
	model TEXT NOT NULL,
	calls BIGINT NOT NULL,
	input_tokens BIGINT NOT NULL,
	output_tokens BIGINT NOT NULL,
	cost_nano_usd BIGINT NOT NULL,
	unpriced_calls BIGINT NOT NULL,
	PRIMARY KEY (hour_ms, run, team, project, environment, user, "key", model)
)
 WITHOUT ROWID

;
CREATE TABLE switches (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL,
	time_ms BIGINT NOT NULL,
	booked_ms BIGINT NOT NULL,
	model TEXT NOT NULL,
	from_basis_points BIGINT NOT NULL,
	direction TEXT NOT NULL,
	reason TEXT NOT NULL,
	previous_targets JSON NOT NULL,
	targets JSON NOT NULL,
	evidence TEXT NOT NULL,
	notify JSON NOT NULL,
	delivered_ms BIGINT, router TEXT NOT NULL DEFAULT '', same_as TEXT NOT NULL DEFAULT '', planned INTEGER DEFAULT '0' NOT NULL,
	UNIQUE (id)
);
CREATE TABLE unanswered_attempts (
	entry_id TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	target TEXT NOT NULL,
	input_tokens BIGINT NOT NULL,
	output_tokens BIGINT NOT NULL,
	cost_nano_usd BIGINT,
	PRIMARY KEY (entry_id, attempt)
)
 WITHOUT ROWID

;
CREATE TABLE unreadable_lines (
	epoch TEXT NOT NULL,
	inode BIGINT NOT NULL,
	"offset" BIGINT NOT NULL,
	name TEXT NOT NULL,
	size_bytes BIGINT NOT NULL,
	reason TEXT NOT NULL,
	seen_ms BIGINT NOT NULL,
	PRIMARY KEY (epoch, inode, "offset")
);
CREATE INDEX entries_by_time ON entries (time_ms);
CREATE INDEX entries_by_request ON entries (request_id);
CREATE INDEX entries_unsettled ON entries (sequence) WHERE settled_ms IS NULL;
CREATE INDEX entries_repeatable ON entries (body_print, time_ms) WHERE status NOT BETWEEN 200 AND 399;
CREATE INDEX entries_retries ON entries (retry_of) WHERE retry_of != '';
CREATE INDEX entries_by_admission ON entries (admitted_ms);
CREATE INDEX settled_sums_by_run ON settled_sums (run) WHERE run != '';
CREATE INDEX alerts_unplanned ON alerts (sequence) WHERE planned = 0;
CREATE INDEX switches_unplanned ON switches (sequence) WHERE planned = 0;
CREATE INDEX deliveries_waiting ON deliveries (due_ms) WHERE state = 'waiting';
DELETE FROM "sqlite_sequence";
