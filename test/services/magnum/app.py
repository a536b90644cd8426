"""magnum-api as a WSGI application, of the configuration that $MAGNUM_CONF names. Its tables are made from its own models: its migrations
are for MySQL and PostgreSQL and fail on SQLite. As with its own magnum-api-wsgi, it asks its database itself, and no conductor is needed.
"""
import os
import sys

sys.argv = ['magnum-api', '--config-file', os.environ['MAGNUM_CONF']]

from magnum.api.app import build_wsgi_app  # noqa: E402
from magnum.db.sqlalchemy import api, models  # noqa: E402

application = build_wsgi_app()
models.Base.metadata.create_all(api.get_engine())
