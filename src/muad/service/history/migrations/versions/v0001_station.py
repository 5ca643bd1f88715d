"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_RISING = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INDEXES = (
    ("inspections_at", ["at", "number", "station", "judged_as", "verdict", "score", "model_id"], None),
    ("inspections_station", ["station", "at", "number", "judged_as", "verdict", "score", "model_id"], None),
    ("inspections_judged_as", ["judged_as", "at", "number", "verdict", "score", "station", "model_id"], None),
    ("inspections_model", ["model_id", "at", "number", "judged_as", "verdict", "score", "station"], None),
    ("inspections_score", ["score", "at", "number", "judged_as", "verdict", "station", "model_id"], None),
    ("inspections_serial", ["serial", "at", "number"], None),
    ("inspections_lot", ["lot", "at", "number"], None),
    (
        "inspections_stopped",
        ["at", "number", "word", "verdict", "judged_as", "station", "score", "model_id"],
        "verdict <> 'pass'",
    ),
    (
        "inspections_spoken",
        ["at", "number", "word", "verdict", "judged_as", "station", "score", "model_id"],
        "word IS NOT NULL",
    ),
    (
        "inspections_pictured",
        ["at", "number", "verdict", "photo_bytes", "map_bytes"],
        "photo IS NOT NULL AND NOT pictures_removed AND word IS NULL",
    ),
    ("inspections_audit", ["at", "number", "word", "verdict", "judged_as", "station"], "in_audit"),
)


def upgrade() -> None:
    """To these tables."""
    op.create_table(
        "changes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("old", sa.String(), nullable=True),
        sa.Column("new", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="changes_key"),
    )
    op.create_index("changes_kind", "changes", ["kind", "subject", "at"], unique=False)
    op.create_table(
        "drift_signals",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("judged_as", sa.String(), nullable=True),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("began_at", _TIME, nullable=False),
        sa.Column("raised_at", _TIME, nullable=False),
        sa.Column("inspections", sa.Integer(), nullable=False),
        sa.Column("statistic", sa.Double(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="drift_signals_key"),
    )
    op.create_index("drift_signals_raised_at", "drift_signals", ["raised_at"], unique=False)
    op.create_table(
        "inspections",
        sa.Column("number", _RISING, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=True),
        sa.Column("judged_as", sa.String(), nullable=True),
        sa.Column("recognised", sa.String(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("review_above", sa.Double(), nullable=True),
        sa.Column("reject_above", sa.Double(), nullable=True),
        sa.Column("map_limit", sa.Double(), nullable=True),
        sa.Column("normal_value", sa.Double(), nullable=True),
        sa.Column("limit_value", sa.Double(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("notice", sa.String(), nullable=True),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("highest", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.String(), nullable=True),
        sa.Column("serial", sa.String(), nullable=True),
        sa.Column("lot", sa.String(), nullable=True),
        sa.Column("extras", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("photo", sa.String(), nullable=True),
        sa.Column("photo_sha256", sa.String(), nullable=True),
        sa.Column("photo_bytes", sa.BigInteger(), nullable=True),
        sa.Column("map", sa.String(), nullable=True),
        sa.Column("map_sha256", sa.String(), nullable=True),
        sa.Column("map_bytes", sa.BigInteger(), nullable=True),
        sa.Column("map_low", sa.Double(), nullable=True),
        sa.Column("map_high", sa.Double(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("times", sa.JSON(), nullable=False),
        sa.Column("brightness", sa.Double(), nullable=True),
        sa.Column("sharpness", sa.Double(), nullable=True),
        sa.Column("product_p", sa.Double(), nullable=True),
        sa.Column("in_audit", sa.Boolean(), nullable=False),
        sa.Column("word", sa.String(), nullable=True),
        sa.Column("word_at", _TIME, nullable=True),
        sa.Column("pictures_removed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="inspections_key"),
        sa.UniqueConstraint("id", name="inspections_id_once"),
        sa.UniqueConstraint("idempotency_key", name="inspections_idempotency_key_once"),
        sqlite_autoincrement=True,
    )
    for name, columns, only in _INDEXES:
        where = None if only is None else sa.text(only)
        op.create_index(name, "inspections", columns, unique=False, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "models",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("loaded_at", _TIME, nullable=False),
        sa.Column("loaded_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("detector", sa.String(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("muad", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="models_key"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="tokens_key"),
        sa.UniqueConstraint("digest", name="tokens_digest_once"),
    )
    op.create_table(
        "logins",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("csrf", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name="logins_token_id_there", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="logins_key"),
        sa.UniqueConstraint("digest", name="logins_digest_once"),
    )
    op.create_index("logins_token_id", "logins", ["token_id"], unique=False)
    op.create_table(
        "shadow_judgements",
        sa.Column("inspection_id", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("judged_as", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="shadow_judgements_inspection_id_there", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("inspection_id", "model_id", name="shadow_judgements_key"),
    )
    op.create_index("shadow_judgements_model", "shadow_judgements", ["model_id", "inspection_id"], unique=False)
    op.create_table(
        "words",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("inspection_id", sa.String(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("defect_type", sa.String(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("mask", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="words_inspection_id_there", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name="words_key"),
    )
    op.create_index("words_at", "words", ["at"], unique=False)
    op.create_index("words_inspection_id", "words", ["inspection_id"], unique=False)
