-- Written by `make tables`. Do not edit.
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
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
CREATE TABLE backends (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE drained_targets (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE left_slots (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE listeners (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE models (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE noted_leads (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE out_targets (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE providers (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
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
CREATE TABLE unreported_switches (
	name TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (name)
);
