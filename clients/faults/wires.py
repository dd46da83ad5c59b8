"""Wires between network namespaces: one TUN device in each, and this process between them, which loses, delays and cuts.

Linux's own netem is a module that many machines do not have; this needs /dev/net/tun and the right to make namespaces, nothing else. What it
does to a packet the kernels on both sides see as a network: TCP retransmits, connections stall and break.

    wires.py PREFIX COUNT      namespaces PREFIX0 … PREFIX<COUNT-1> with addresses 10.77.0.1 …; this process's own is 10.77.0.254

Commands on standard input, one JSON object a line, answered by a line each:
    {"cut": [[0, 1], [2, 0]]}      from, to; one direction each. Replaces all cuts before.
    {"loss": 0.02, "delay": [20, 40]}      a part of the packets; milliseconds each way
    {"near": true}                         packets from and to this process's own address are spared both
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
MTU = 9000
OWN = 254


def namespace_of(path):
    return os.open(path, os.O_RDONLY)


def device(libc, namespace, home, name):
    """A TUN device inside a namespace; its packets come out here."""
    if namespace is not None:
        enter(libc, namespace)
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    finally:
        enter(libc, home)
    return fd


def enter(libc, namespace):
    if libc.setns(namespace, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def ip(*words, namespace=None):
    within = ["ip", "netns", "exec", namespace] if namespace else []
    subprocess.run([*within, "ip", *words], check=True)


class Wires:
    def __init__(self, fds):
        self.fds = fds
        self.cut = set()
        self.loss = 0.0
        self.delay = (0.0, 0.0)
        self.near = False
        self.waiting = []
        self.number = 0
        self.counts = {"carried": 0, "lost": 0, "cut": 0}

    def arrived(self, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        source, target = packet[15], packet[19]
        if target not in self.fds:
            return
        if (source, target) in self.cut:
            self.counts["cut"] += 1
            return
        spared = self.near and OWN in (source, target)
        if self.loss and not spared and random.random() < self.loss:
            self.counts["lost"] += 1
            return
        self.number += 1
        at = time.monotonic() + (0.0 if spared else random.uniform(*self.delay))
        heapq.heappush(self.waiting, (at, self.number, target, packet))

    def deliver(self):
        """Everything that is due; the time until the next is."""
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            *_, target, packet = heapq.heappop(self.waiting)
            self.counts["carried"] += 1
            try:
                os.write(self.fds[target], packet)
            except OSError:
                self.counts["lost"] += 1
        return max(0.0, self.waiting[0][0] - now) if self.waiting else None

    def command(self, line):
        said = json.loads(line)
        if "cut" in said:
            address = lambda one: OWN if one is None else one + 1
            self.cut = {(address(a), address(b)) for a, b in said["cut"]}
        self.loss = said.get("loss", self.loss)
        self.near = said.get("near", self.near)
        if "delay" in said:
            self.delay = tuple(each / 1000 for each in said["delay"])
        print(json.dumps(self.counts), flush=True)


def main():
    prefix, count = sys.argv[1], int(sys.argv[2])
    libc = ctypes.CDLL(None, use_errno=True)
    home = namespace_of("/proc/self/ns/net")
    names = [f"{prefix}{index}" for index in range(count)]
    made = []
    own = f"{prefix}w"[:15]
    try:
        fds = {OWN: device(libc, None, home, own)}
        ip("addr", "add", f"10.77.0.{OWN}/24", "dev", own)
        ip("link", "set", own, "mtu", str(MTU), "up")
        for index, name in enumerate(names):
            subprocess.run(["ip", "netns", "add", name], check=True)
            made.append(name)
            namespace = namespace_of(f"/var/run/netns/{name}")
            fds[index + 1] = device(libc, namespace, home, "wire")
            os.close(namespace)
            ip("addr", "add", f"10.77.0.{index + 1}/24", "dev", "wire", namespace=name)
            ip("link", "set", "wire", "mtu", str(MTU), "up", namespace=name)
            ip("link", "set", "lo", "up", namespace=name)
        print("ready", flush=True)
        carry(Wires(fds))
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


def carry(wires):
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.buffer, selectors.EVENT_READ, None)
    for fd in wires.fds.values():
        selector.register(fd, selectors.EVENT_READ, fd)
    while True:
        for key, _ in selector.select(wires.deliver()):
            if key.data is None:
                line = sys.stdin.buffer.readline()
                if not line:
                    return
                wires.command(line)
                continue
            try:
                for _ in range(64):
                    wires.arrived(os.read(key.data, 65536))
            except BlockingIOError:
                pass


main()
