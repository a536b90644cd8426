#!/usr/bin/python3
"""OpenStack's command line as a server: openstack-client.py SOCKET. Each connection brings JSON, {"args": […], "env": {…}},
ends its side, and gets {"code": …, "stdout": …, "stderr": …}. Every command is a process of its own, forked from this one,
which has loaded already what takes seconds to load: the same code with the same arguments.
"""
import json
import logging
import os
import signal
import socket
import sys
import tempfile

import magnumclient.osc.v1.cluster_templates  # noqa: F401
import magnumclient.osc.v1.clusters  # noqa: F401
import magnumclient.v1.client  # noqa: F401
import openstack  # noqa: F401
from openstackclient import shell


def become(asked, out, err):
    """The command; does not return."""
    code = 1
    try:
        for ours, theirs in ((os.open(os.devnull, os.O_RDONLY), 0), (out.fileno(), 1), (err.fileno(), 2)):
            os.dup2(ours, theirs)
        os.environ.clear()
        os.environ.update(asked['env'])
        sys.argv[0] = 'openstack'  # in its messages
        code = shell.main(asked['args'])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def answer(connection):
    with connection, connection.makefile('r') as question, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        asked = json.load(question)
        pid = os.fork()
        if pid == 0:
            become(asked, out, err)
        _, status = os.waitpid(pid, 0)
        for file in (out, err):
            file.seek(0)
        said = {'code': os.waitstatus_to_exitcode(status), 'stdout': out.read().decode(), 'stderr': err.read().decode()}
        connection.sendall(json.dumps(said).encode())


try:  # finds and remembers which commands there are
    shell.main(['coe', 'cluster', 'list', '--help'])
except SystemExit:
    pass
logging.getLogger().handlers.clear()

server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
print('ready', flush=True)
while True:
    connection, _ = server.accept()
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.close()
        answer(connection)
        os._exit(0)
    connection.close()
