"""Counts instructions for ci/instructions: instructions.py BINARY RECORDED [--record]"""

import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

# Operations in the shorter and in the longer of two runs, whose difference is counted.
SHORT, LONG = 2_000, 22_000

# How often each operation is counted, and the mean taken: the keys of the hash are random, and which sessions are
# evicted, which moves one count of an eviction by 6 in a thousand (its standard deviation in 30), the mean by less
# than 3, and most operations by none at all.
TIMES = 5

# Growth over the recorded count that fails.
LIMIT = 1.03

# What an operation of a store with an index may cost, relative to the same without, and the hundredth by which a
# count moves: nothing more for a load, and for a save that changes no subject what is a tenth more of its time at the
# most. That is more of its instructions, because they are not what takes the time: the locked ones do, and the
# clock, which is not counted. (1.17 in instructions were 4 to 5 % of the time, by a throw-away program.)
PROMISED = {"load-of-subject": ("load", 1.01), "save-of-subject": ("save", 1.19)}


def instructions(binary, operation, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, operation, str(times)]
    run = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        sys.exit(f"ci/instructions: {operation} failed under callgrind:\n{run.stderr}")
    return int(found[1])


def count(binary, operation):
    short, long = (sum(instructions(binary, operation, times) for _ in range(TIMES)) for times in (SHORT, LONG))
    return round((long - short) / (LONG - SHORT) / TIMES)


def main():
    binary, recorded, record = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "--record"
    compiler = subprocess.run(["rustc", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    operations = subprocess.run([binary], capture_output=True, text=True, check=True).stdout.split()
    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip(operations, pool.map(lambda operation: count(binary, operation), operations)))
    lines = [f"{operation} {instructions}" for operation, instructions in counts.items()]
    if record:
        recorded.write_text("\n".join([f"# {compiler}", *lines]) + "\n")
        print("\n".join(lines))
        return
    head, *before = recorded.read_text().splitlines()
    before = {line.split()[0]: int(line.split()[1]) for line in before}
    judged = head == f"# {compiler}"
    grown = []
    for operation, now in counts.items():
        was = before.get(operation)
        if was is None:
            sys.exit(f"ci/instructions: {operation} is not in {recorded}: run ci/instructions --record")
        print(f"{operation:30} {now:6} (recorded {was})")
        if now > was * LIMIT:
            grown.append(f"{operation} from {was} to {now}")
    for operation, (plain, most) in PROMISED.items():
        if counts[operation] > counts[plain] * most:
            grown.append(f"{operation} to {counts[operation] / counts[plain]:.2f} times {plain}")
    if not judged:
        print(f"not judged: recorded with {head[2:]}, and this is {compiler}")
    elif grown:
        sys.exit("ci/instructions: grown too much: " + ", ".join(grown))


main()
