"""What Pohmel is to reach, as ratios to others measured in the same run."""

import os
import socket
import statistics
import time

from measures import MIB, title_of

# (measurement, of whom, times as fast at least)
TARGETS = [
    ("create", "limit", 0.7),
    ("unlink", "limit", 0.7),
    ("mkdir", "limit", 0.7),
    ("rename", "limit", 0.7),
    ("write_small", "limit", 0.7),
    ("untar_sync", "local", 1 / 3),
    ("stat_warm", "local", 1),
    ("git_status_warm", "local", 1 / 1.5),
    ("git_add", "local", 1 / 2),
    ("stream_write", "passthrough", 0.8),
    ("stream_read_warm", "passthrough", 0.8),
]
COLD_READ = 0.6  # of loopback TCP or of the disk, whichever is lower
LOOPBACK_BYTES, LOOPBACK_CHUNK = 512 * MIB, MIB // 8


def loopback():
    """MiB a second through a TCP connection of this machine with itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = os.fork()
        if child == 0:
            with socket.create_connection(server.getsockname()) as out:
                chunk = bytes(LOOPBACK_CHUNK)
                for _ in range(LOOPBACK_BYTES // LOOPBACK_CHUNK):
                    out.sendall(chunk)
            os._exit(0)
        connection, _ = server.accept()
        with connection:
            buffer, total, started = bytearray(MIB), 0, time.perf_counter()
            while got := connection.recv_into(buffer):
                total += got
            took = time.perf_counter() - started
        os.waitpid(child, 0)
    return total / MIB / took


def _line(what, ratio, goal, of_whom):
    verdict = "reached" if ratio >= goal else "missed"
    return "%-36s %6.2f of %-14s goal %.2f  %s" % (what, ratio, of_whom, goal, verdict)


def _cold_read(rates):
    pohmel, local = rates("stream_read", "pohmel"), rates("stream_read", "local")
    if pohmel is None or local is None:
        return []
    wire = loopback()
    whom = "loopback TCP" if wire < local else "local"
    return [_line(title_of("stream_read")[0], pohmel / min(wire, local), COLD_READ, whom)]


def report(results, commands):
    """Lines that compare the place called "pohmel" with what it is to reach; none when
    it, or all whom it is to be compared with, were not measured."""
    def rates(measurement, place):
        values = results.get(measurement, {}).get(place)
        return statistics.median(values) if values else None

    lines = []
    for measurement, whom, goal in TARGETS:
        ours, theirs = rates(measurement, "pohmel"), rates(measurement, whom)
        if ours is not None and theirs is not None:
            lines.append(_line(title_of(measurement)[0], ours / theirs, goal, whom))
    lines += _cold_read(rates)
    fresh = commands.get("remove_fresh", {}).get("pohmel")
    if fresh:
        lines.append("%-36s %6.3g commands a file, goal 0  %s" % (
            title_of("remove_fresh")[0], statistics.median(fresh), "reached" if max(fresh) < 0.01 else "missed"))
    return lines
