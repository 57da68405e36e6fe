"""Child processes that never outlive who started them."""

import os
import signal
import subprocess
import time

# How long a child has to clean up before it is killed.
GRACE_S = 20


def end_group(process):
    """Ends PROCESS, a leader of its own group, and whatever is left of the group."""
    for sign, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 5)):
        try:
            if sign == signal.SIGTERM:
                process.send_signal(sign)
            else:
                os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + patience_s
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)


def run_quiet(command, cwd, env=None):
    """Runs COMMAND to its end; its exit code and all that it said."""
    process = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True)
    try:
        log, _ = process.communicate()
    except BaseException:
        end_group(process)
        raise
    return process.returncode, log
