"""How alembic runs here: on the connection that `storage.migrate` has open, inside its transaction."""

from alembic import context

from storage.models import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
