#!/usr/bin/env python3
"""Runs commands at the same time, and begins each line that they print with the name of the command.

    scripts/side_by_side.py one="make one" two="make two"

If one fails, the others are ended, and the exit code is 1.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time

printing = threading.Lock()


def say(line):
    with printing:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def follow(name, process, ended):
    """Prints what the command prints, and reports its end."""

    def repeat():
        for line in process.stdout:
            say(f"{name}: ".encode() + line.rstrip(b"\n") + b"\n")

    reader = threading.Thread(target=repeat, daemon=True)
    reader.start()
    code = process.wait()
    # Programs that it has left behind may hold the pipe open.
    reader.join(timeout=10)
    ended.put((name, code))


def end(processes):
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def main(arguments):
    started = time.monotonic()
    ended = queue.Queue()
    running = {}
    for argument in arguments:
        name, command = argument.split("=", 1)
        # A session of its own, so that all that it starts can be ended.
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running[name] = process
        threading.Thread(target=follow, args=(name, process, ended), daemon=True).start()
    try:
        while running:
            name, code = ended.get()
            del running[name]
            if code != 0:
                say(f"side_by_side.py: {name} ended with {code}; the others are ended\n".encode())
                return 1
            say(f"{name}: done after {time.monotonic() - started:.0f} s\n".encode())
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        end(running.values())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
