"""What Alembic runs: the migrations, in the transaction of whoever opened the database."""

from __future__ import annotations

from alembic import context

from muad.service.history.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
