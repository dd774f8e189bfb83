"""The tables and views of a results file, version 1; docs/studies.md says what each column means."""

from __future__ import annotations

VERSION = 1

SCHEMA = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL UNIQUE,
    entry TEXT NOT NULL,
    title TEXT NOT NULL,
    seed INTEGER NOT NULL,
    parent TEXT,
    method TEXT NOT NULL,
    method_options TEXT NOT NULL,
    tuning TEXT,
    architecture TEXT NOT NULL,
    encoder TEXT,
    status TEXT NOT NULL,
    error TEXT,
    seconds REAL,
    parameters INTEGER,
    parameters_changed INTEGER,
    statistics_changed INTEGER,
    labels_used INTEGER,
    sees TEXT,
    protocol TEXT,
    folder TEXT,
    recipe TEXT NOT NULL,
    versions TEXT,
    git_commit TEXT,
    device TEXT,
    created TEXT
);
CREATE INDEX runs_by_title ON runs (title);
CREATE INDEX runs_by_parent ON runs (parent);

CREATE TABLE axes (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    axis TEXT NOT NULL,
    position INTEGER NOT NULL,
    value TEXT NOT NULL,
    number REAL,
    PRIMARY KEY (run, axis)
) WITHOUT ROWID;
CREATE INDEX axes_by_value ON axes (axis, value);

CREATE TABLE scores (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    domain TEXT NOT NULL,
    data TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    images INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    known_images TEXT NOT NULL,
    label_space TEXT NOT NULL,
    matrix_rows INTEGER NOT NULL,
    matrix_columns INTEGER NOT NULL,
    miou REAL,
    mean_accuracy REAL,
    accuracy REAL,
    dice REAL,
    frequency_weighted_iou REAL,
    definition TEXT NOT NULL,
    PRIMARY KEY (run, domain)
) WITHOUT ROWID;
CREATE INDEX scores_by_domain ON scores (domain);

CREATE TABLE class_scores (
    run INTEGER NOT NULL,
    domain TEXT NOT NULL,
    position INTEGER NOT NULL,
    class TEXT NOT NULL,
    iou REAL,
    accuracy REAL,
    PRIMARY KEY (run, domain, position),
    FOREIGN KEY (run, domain) REFERENCES scores (run, domain) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE confusions (
    run INTEGER NOT NULL,
    domain TEXT NOT NULL,
    position INTEGER NOT NULL,
    image TEXT NOT NULL,
    block TEXT NOT NULL,
    matrix BLOB NOT NULL,
    PRIMARY KEY (run, domain, position),
    FOREIGN KEY (run, domain) REFERENCES scores (run, domain) ON DELETE CASCADE
);

CREATE VIEW results AS
SELECT runs.key, runs.entry, runs.title, runs.seed, runs.method, runs.tuning, runs.architecture, runs.encoder, scores.domain, scores.miou,
    scores.mean_accuracy, scores.accuracy, scores.dice, scores.frequency_weighted_iou, scores.images, scores.blocks, scores.known_images,
    runs.labels_used, runs.parameters, runs.parameters_changed, runs.statistics_changed, runs.seconds, scores.data, scores.fingerprint,
    scores.checkpoint, runs.protocol, runs.folder, runs.identity, runs.parent
FROM scores JOIN runs ON runs.id = scores.run
ORDER BY runs.key, scores.domain;

CREATE VIEW class_results AS
SELECT runs.key, runs.entry, runs.title, runs.seed, class_scores.domain, class_scores.position, class_scores.class, class_scores.iou,
    class_scores.accuracy
FROM class_scores JOIN runs ON runs.id = class_scores.run
ORDER BY runs.key, class_scores.domain, class_scores.position;

CREATE VIEW seed_means AS
SELECT entry, title, domain, fingerprint, count(*) AS seeds, avg(miou) AS miou, min(miou) AS miou_low, max(miou) AS miou_high,
    avg(accuracy) AS accuracy, avg(seconds) AS seconds, max(labels_used) AS labels_used
FROM results
GROUP BY entry, title, domain, fingerprint
ORDER BY title, domain;
"""
