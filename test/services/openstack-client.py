#!/usr/bin/python3
"""OpenStack's command line, again and again: each line on standard input is JSON, {"args": […], "env": {…}}, and so is
each answer, {"code": …, "stdout": …, "stderr": …}. Every command is a process of its own, forked from this one, which
has loaded already what takes seconds to load: the same code with the same arguments.
"""
import json
import logging
import os
import sys
import tempfile

import magnumclient.osc.v1.cluster_templates  # noqa: F401
import magnumclient.osc.v1.clusters  # noqa: F401
import magnumclient.v1.client  # noqa: F401
import openstack  # noqa: F401
from openstackclient import shell

answers = os.fdopen(os.dup(1), 'w')
nothing = os.open(os.devnull, os.O_RDWR)
os.dup2(nothing, 1)
try:  # finds and remembers which commands there are
    shell.main(['coe', 'cluster', 'list', '--help'])
except SystemExit:
    pass
sys.stdout.flush()
logging.getLogger().handlers.clear()

for line in sys.stdin:
    asked = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            for ours, theirs in ((nothing, 0), (out.fileno(), 1), (err.fileno(), 2)):
                os.dup2(ours, theirs)
            os.environ.update(asked['env'])
            code = 1
            try:
                code = shell.main(asked['args'])
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code or 0)
        _, status = os.waitpid(pid, 0)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
        json.dump({'code': os.waitstatus_to_exitcode(status), 'stdout': said[0], 'stderr': said[1]}, answers)
        answers.write('\n')
        answers.flush()
