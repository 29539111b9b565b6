#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""
The tree of terrace-fuse: what is in it, and that images are what initiators read. Arguments: names of
cases.
"""

import atexit
import errno
import grp
import json
import mmap
import os
import re
import stat
import subprocess
import sys
import time
import xml.dom.minidom

sys.dont_write_bytecode = True
# This file's own folder holds a module of a standard name: this one.
sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
import tree  # noqa: E402
from change import Changes  # noqa: E402
from iscsi import GOOD, Session  # noqa: E402
from terraced import TARGET, Daemon, check, requires, run, same, wait_until  # noqa: E402
from tree import Tree, error_of, extents  # noqa: E402

MIB = 1 << 20
A = "iqn.a:one"
CONFIG = """
cache fast {{ ssd "{{dir}}/ssd" ; size 192MiB }}
lun nv {{ store "file:{{dir}}/nv.img" ; size 64MiB ; cache fast }}
lun through {{ store "file:{{dir}}/through.img" ; size 16MiB ; cache fast ; mode writethrough }}
lun by {{ store "file:{{dir}}/by.img" ; size 16MiB ; cache fast ; mode bypass }}
lun soft {{ store "file:{{dir}}/soft.img" ; size 16MiB ; cache fast ; mode volatile }}
lun holes {{ store "file:{{dir}}/holes.img" ; size 64MiB }}
lun tools {{ store "file:{{dir}}/tools.img" ; size 16MiB ; nbd rw }}
lun grows {{ store "file:{{dir}}/grows.img" ; size 16MiB }}
lun both {{ store ram: ; size 16MiB ; mode volatile ; nbd force }}
portal p {{ listen 127.0.0.1:{{port}} }}
target {target} {{
    portals p
    group one {{ initiators {a} ; lun 0 nv ; lun 1 through ; lun 2 by ; lun 3 soft ; lun 4 holes ;
                 lun 5 tools ; lun 6 both ; lun 7 grows }}
}}
""".format(target=TARGET, a=A)
ROWS = ["cache", "config", "control", "dirty", "dirty_bytes", "heatmap.svg", "image",
        "latency.svg", "mode", "naa", "profile", "reservations", "sessions", "size", "state",
        "stats", "stats.json", "store", "uuid"]


def session(d):
    s = Session(d.port, TARGET, name=A)
    for lun in range(7):
        s.ready(lun)
    return s


def write(s, block, data, lun=0):
    result = s.write10(block, data, lun=lun)
    check(result.status == GOOD, f"write: {result}")


def image(t, lun):
    return t("luns", lun, "image")


# ---- what there is --------------------------------------------------------------------------------


def case_folders(d, t):
    same(sorted(os.listdir(t.path)), ["README", "caches", "events", "health", "luns", "metrics",
                                      "sessions", "stats.json", "targets", "version"], "root")
    same(sorted(os.listdir(t("luns"))), sorted(["nv", "through", "by", "soft", "holes", "tools",
                                                "both", "grows"]), "luns")
    same(sorted(os.listdir(t("luns", "nv"))), ROWS, "a LUN's")
    same(sorted(os.listdir(t("caches", "fast"))),
         ["control", "luns", "segments", "state", "stats.json", "status"], "a cache's")
    same(sorted(os.listdir(t("caches", "fast", "luns"))), ["by", "nv", "soft", "through"],
         "LUNs of a cache")
    same(os.listdir(t("targets")), [TARGET], "targets")
    group = t("targets", TARGET, "groups", "one")
    same(sorted(os.listdir(group)), ["initiators", "luns"], "a group's")
    same(os.path.realpath(os.path.join(group, "luns", "4")), os.path.realpath(t("luns", "holes")),
         "a link")
    for link in ("0", "6"):
        check(os.path.exists(os.path.join(group, "luns", link, "image")), "a link leads somewhere")
    same(t.value("targets", TARGET, "groups", "one", "initiators"), A, "initiators")
    check(t.value("targets", TARGET, "portals").endswith(f"127.0.0.1:{d.port}"), "portals")
    same(error_of(lambda: os.stat(t("luns", "none")))[0], errno.ENOENT, "no such LUN")
    same(error_of(lambda: os.stat(t("luns", "nv", "none")))[0], errno.ENOENT, "no such file")
    same(error_of(lambda: os.mkdir(t("luns", "new")))[0] != 0, True, "mkdir fails")


def case_every_file_reads(d, t):
    """No file of the tree fails, and what is read twice is of the same size as stat says."""
    for folder, _, files in os.walk(t.path):
        for name in files:
            if name == "image":
                continue
            path = os.path.join(folder, name)
            with open(path, "rb") as f:
                data = f.read()
            if name not in ("control", "dirty", "portals", "initiators"):
                check(data.endswith(b"\n"), f"{path}: {data[-40:]!r}")
            if name not in ("control", "stats", "stats.json", "metrics", "events"):
                same(os.stat(path).st_size, len(data), f"size of {path}")


def case_values(d, t):
    s = session(d)
    for name, value in (("size", str(64 * MIB)), ("mode", "nv"), ("profile", "vmware"),
                        ("state", "ok"), ("store", "file:" + d.folder("nv.img"))):
        same(t.value("luns", "nv", name), value, name)
    check(re.fullmatch("[0-9a-f-]{36}", t.value("luns", "nv", "uuid")), "uuid")
    naa = s.execute(bytes([0x12, 1, 0x83, 0, 255, 0]), 0, read=255).data
    check(bytes.fromhex(t.value("luns", "nv", "naa")) in naa, "naa is that of VPD 83h")
    check("mode               nv" in t.read("luns", "nv", "config"), t.read("luns", "nv", "config"))
    same(t.value("health").split()[0], "ok", "health")
    json.loads(t.read("stats.json"))
    same(json.loads(t.read("luns", "nv", "stats.json"))["name"], "nv", "stats.json")
    check(t.read("metrics").endswith("# EOF\n"), "metrics end as OpenMetrics do")
    for picture in ("latency.svg", "heatmap.svg"):
        xml.dom.minidom.parseString(t.read("luns", "nv", picture))
    check("reservation" in t.read("luns", "nv", "reservations"), "reservations")
    wait_until(lambda: len(os.listdir(t("sessions"))) == 1, "the session is there")
    tsih = os.listdir(t("sessions"))[0]
    same(t.value("sessions", tsih, "initiator"), A, "initiator")
    check("127.0.0.1:" in t.value("sessions", tsih, "address"), "address")
    same(os.listdir(t("luns", "nv", "sessions")), [tsih], "sessions of a LUN")
    same(os.listdir(t("targets", TARGET, "sessions")), [tsih], "sessions of a target")
    s.close()
    wait_until(lambda: os.listdir(t("sessions")) == [], "the session has gone")


def case_permissions(d, t):
    try:
        group = grp.getgrnam("terrace").gr_gid
    except KeyError:
        group = 0
    for path, mode in ((("luns",), 0o40750), (("luns", "nv"), 0o40750),
                       (("luns", "nv", "image"), 0o100400), (("luns", "tools", "image"), 0o100600),
                       (("luns", "nv", "control"), 0o100620), (("health",), 0o100440)):
        st = os.stat(t(*path))
        same(oct(st.st_mode), oct(mode), f"mode of {path}")
        same(st.st_uid, os.geteuid(), "owner")
        same(st.st_gid, group if os.geteuid() == 0 else os.getegid(), "group")
    if os.geteuid() != 0:
        return
    other = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                            "ls", t.path], capture_output=True, check=False)
    check(b"Permission denied" in other.stderr, f"somebody else sees it: {other}")
    with open("/proc/self/mounts", encoding="utf-8") as f:
        line = [x for x in f if x.split()[1] == os.path.realpath(t.path)][0].split()
    same(line[2], "fuse.terrace", "type")
    check("allow_other" in line[3] and "default_permissions" in line[3], line[3])


# ---- images ---------------------------------------------------------------------------------------


def case_what_initiators_read(d, t):
    """In every mode, with dirty data: compared with what is read over iSCSI."""
    requires("qemu-img")
    s = session(d)
    for lun, name in enumerate(("nv", "through", "by", "soft")):
        for i in range(24):
            write(s, (i * 1237) % 30000 & ~7, os.urandom(4096), lun=lun)
    wait_until(lambda: (write(s, 8 * 4000, os.urandom(65536)),
                        int(t.value("luns", "nv", "dirty_bytes")) > 0)[1], "something is dirty")
    ranges = [[int(x) for x in line.split()[:2]] for line in
              t.read("luns", "nv", "dirty").splitlines()]
    check(all(r[0] + r[1] <= 64 * MIB for r in ranges), str(ranges))
    for lun, name in enumerate(("nv", "through", "by", "soft")):
        copy = d.folder("copy.img")
        url = f"iscsi://127.0.0.1:{d.port}/{TARGET}/{lun}"
        done = subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts",
                               f"driver=raw,file.driver=iscsi,file.transport=tcp,"
                               f"file.portal=127.0.0.1:{d.port},file.target={TARGET},"
                               f"file.lun={lun},file.initiator-name={A}", copy],
                              capture_output=True, check=False, timeout=60)
        check(done.returncode == 0, f"{url}: {done.stderr}")
        same(subprocess.run(["cmp", copy, image(t, name)], check=False).returncode, 0, name)
    s.close()


def case_at_once(d, t):
    """What an initiator wrote is what the next read has, by the same open file."""
    s = session(d)
    fd = os.open(image(t, "nv"), os.O_RDONLY)
    for i in range(50):
        data = os.urandom(4096)
        write(s, 8 * i, data)
        check(os.pread(fd, 4096, 4096 * i) == data, f"write {i} isn't seen")
    os.close(fd)
    s.close()


def case_ways_to_read(d, t):
    s = session(d)
    data = os.urandom(MIB)
    for i in range(8):
        write(s, 2048 + i * 256, data[i << 17:(i + 1) << 17])
    fd = os.open(image(t, "nv"), os.O_RDONLY)
    check(os.pread(fd, MIB, MIB) == data, "a read of 1 MiB")
    check(os.pread(fd, 777, MIB + 333) == data[333:1110], "a read from the middle of a block")
    same(len(os.pread(fd, MIB, 64 * MIB - 100)), 100, "a read across the end")
    same(os.pread(fd, 10, 64 * MIB), b"", "a read behind the end")
    same(os.lseek(fd, 0, os.SEEK_END), 64 * MIB, "the end")
    direct = os.open(image(t, "nv"), os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, MIB)
    same(os.preadv(direct, [buffer], MIB), MIB, "O_DIRECT")
    check(buffer[:] == data, "O_DIRECT reads the same")
    os.close(direct)
    for _ in range(2):  # the second mapping shows what was written after the first
        m = mmap.mmap(fd, 4 * MIB, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        check(m[MIB:2 * MIB] == data, "a private mapping")
        m.close()
        data = data[MIB // 2:] + data[:MIB // 2]
        for i in range(8):
            write(s, 2048 + i * 256, data[i << 17:(i + 1) << 17])
        data = bytes(data)
    os.close(fd)
    fd = os.open(image(t, "nv"), os.O_RDONLY)
    out = os.open(d.folder("sent"), os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    sent = 0
    while sent < MIB:
        sent += os.sendfile(out, fd, MIB + sent, MIB - sent)
    check(os.pread(out, MIB, 0) == data, "sendfile")
    os.close(out)
    os.close(fd)
    s.close()


def case_holes(d, t):
    s = session(d)
    same(extents(image(t, "holes")), [], "an empty file has no data")
    write(s, 16 * 2048, os.urandom(65536), lun=4)
    write(s, 48 * 2048, os.urandom(4096), lun=4)
    found = extents(image(t, "holes"))
    same([x // MIB for x, _ in found], [16, 48], f"where data is: {found}")
    check(sum(e - b for b, e in found) <= MIB, f"how much: {found}")
    fd = os.open(image(t, "holes"), os.O_RDONLY)
    same(error_of(lambda: os.lseek(fd, 64 * MIB, os.SEEK_DATA))[0], errno.ENXIO, "behind the end")
    same(error_of(lambda: os.lseek(fd, 60 * MIB, os.SEEK_DATA))[0], errno.ENXIO, "no more data")
    same(os.lseek(fd, 16 * MIB, os.SEEK_DATA), 16 * MIB, "in data")
    same(os.lseek(fd, 63 * MIB, os.SEEK_HOLE), 63 * MIB, "in a hole")
    os.close(fd)
    copy = d.folder("sparse")
    subprocess.run(["cp", "--sparse=auto", image(t, "holes"), copy], check=True)
    same(os.stat(copy).st_size, 64 * MIB, "size of a copy")
    check(os.stat(copy).st_blocks < 8192, "a copy has the holes")
    same(subprocess.run(["cmp", copy, image(t, "holes")], check=False).returncode, 0, "the copy")
    s.close()


def case_a_resize(d, t):
    c = Changes(d)
    fd = os.open(image(t, "grows"), os.O_RDONLY)
    os.pread(fd, 4096, 0)
    with open(d.config, encoding="utf-8") as f:
        text = f.read()
    grown = text.replace('grows.img" ; size 16MiB', 'grows.img" ; size 24MiB')
    d.folder.write("terrace.conf", grown)
    c.call("reload")
    # What the mount knows of a LUN may be a tenth of a second old.
    wait_until(lambda: len(os.pread(fd, MIB, 23 * MIB)) == MIB, "read what was added, by the same open file", 5)
    same(os.fstat(fd).st_size, 24 * MIB, "size by fstat")
    same(os.stat(image(t, "grows")).st_size, 24 * MIB, "size by stat")
    same(t.value("luns", "grows", "size"), str(24 * MIB), "size")
    os.close(fd)


def case_nothing_is_filled(d, t):
    """Reading leaves the cache as it is: no hits, no data that is kept."""
    before = [x for x in Changes(d).call("lun.list")
              if x["name"] == "through"][0]
    with open(image(t, "through"), "rb") as f:
        while f.read(MIB):
            pass
    after = [x for x in Changes(d).call("lun.list") if x["name"] == "through"][0]
    for key in ("cached_bytes", "cache_reads", "cache_hits"):
        same(after[key], before[key], key)
    same(after["stats"]["reads"], before["stats"]["reads"], "an initiator's reads")


def case_a_file_system(d, t):
    """An ext4 in a partition of the image, checked and mounted while an initiator writes elsewhere."""
    requires("mkfs.ext4", "e2fsck", "sfdisk", "fdisk")
    disk = d.folder("disk.img")
    with open(disk, "wb") as f:
        f.truncate(64 * MIB)
    subprocess.run(["sfdisk", "-q", disk], input=b"2048,65536,L\n", check=True,
                   stdout=subprocess.DEVNULL)
    part = d.folder("part.img")
    with open(part, "wb") as f:
        f.truncate(32 * MIB)
    files = d.folder("files")
    os.makedirs(files, exist_ok=True)
    with open(os.path.join(files, "hello"), "w", encoding="utf-8") as f:
        f.write("from inside\n")
    subprocess.run(["mkfs.ext4", "-q", "-d", files, part], check=True)
    s = session(d)
    with open(disk, "rb") as f, open(part, "rb") as p:
        head, body = f.read(MIB), p.read()
    for at, data in ((0, head), (MIB, body)):
        for i in range(0, len(data), 65536):
            write(s, (at + i) // 512, data[i:i + 65536])
    write(s, 40 * 2048, os.urandom(4096))
    out = subprocess.run(["fdisk", "-l", image(t, "nv")], capture_output=True, check=True).stdout
    check(b"Linux" in out and b"65536" in out, f"fdisk: {out}")
    write(s, 41 * 2048, os.urandom(4096))
    checked = subprocess.run(["e2fsck", "-fn", f"{image(t, 'nv')}?offset={MIB}"],
                             capture_output=True, check=False)
    same(checked.returncode, 0, f"e2fsck: {checked.stdout} {checked.stderr}")
    place = d.folder("guest")
    os.makedirs(place, exist_ok=True)
    mounted = subprocess.run(["mount", "-o", f"ro,noload,loop,offset={MIB}", image(t, "nv"), place],
                             capture_output=True, check=False)
    if os.geteuid() != 0 or b"failed to setup loop" in mounted.stderr:
        print("  (no loop device here: not mounted)")
    else:
        check(mounted.returncode == 0, f"mount: {mounted.stderr}")
        try:
            with open(os.path.join(place, "hello"), encoding="utf-8") as f:
                same(f.read(), "from inside\n", "a guest's file")
        finally:
            subprocess.run(["umount", place], check=False)
    s.close()


# ---- writing ---------------------------------------------------------------------------------------


def case_read_only(d, t):
    for lun in ("nv", "holes"):
        same(error_of(lambda: os.open(image(t, lun), os.O_RDWR))[0],
             errno.EROFS if os.geteuid() == 0 else errno.EACCES, f"open {lun} for writing")
    same(error_of(lambda: open(t("health"), "w", encoding="utf-8"))[0] != 0, True, "write to text")


def case_rw(d, t):
    """rw: while nobody sees it; what was written is durable, and what initiators read."""
    wait_until(lambda: os.listdir(t("sessions")) == [], "earlier sessions have gone")
    time.sleep(0.2)
    fd = os.open(image(t, "tools"), os.O_RDWR)
    data = os.urandom(MIB)
    same(os.pwrite(fd, data, MIB), MIB, "a write")
    os.fsync(fd)
    same(os.pread(fd, MIB, MIB), data, "read again")
    same(os.pwrite(fd, b"part", 8 * MIB + 510), 4, "parts of two blocks")
    same(os.pread(fd, 8, 8 * MIB + 508), b"\0\0part\0\0", "which don't touch the rest")
    same(os.pwrite(fd, b"in", MIB + 100), 2, "a part of a block")
    data = data[:100] + b"in" + data[102:]
    same(error_of(lambda: os.pwrite(fd, b"x" * 512, 16 * MIB))[0], errno.ENOSPC, "behind the end")
    same(error_of(lambda: os.ftruncate(fd, 4096))[0], errno.EINVAL, "it isn't cut")
    same(error_of(lambda: os.pwrite(fd, b"x", 16 * MIB))[0], errno.ENOSPC, "a byte behind the end")
    with open(d.folder("tools.img"), "rb") as f:
        f.seek(MIB)
        check(f.read(MIB) == data, "writethrough: it is on the store")
    s = session(d)
    check(s.read10(2048, 256, lun=5).data == data[:131072], "an initiator reads it")

    def refused():
        return error_of(lambda: os.pwrite(fd, b"y" * 512, 0))[0] == errno.EROFS

    wait_until(refused, "the right to write ends with a session")
    same(error_of(lambda: os.open(image(t, "tools"), os.O_RDWR))[0], errno.EROFS, "open again")
    same(os.pread(fd, MIB, MIB), data, "reading goes on")
    s.close()
    wait_until(lambda: error_of(lambda: os.pwrite(fd, b"z" * 512, 0))[0] == 0,
               "and comes back when it has gone")
    os.close(fd)


def case_force(d, t):
    s = session(d)
    with open(image(t, "both"), "r+b", buffering=0) as f:
        same(f.write(b"w" * 512), 512, "a write while a session is there")
    check(s.read10(0, 1, lun=6).data == b"w" * 512, "which the session reads")
    s.close()


def case_control(d, t):
    s = session(d)
    for i in range(16):
        write(s, 8 * i, os.urandom(4096))
    fd = os.open(t("luns", "nv", "control"), os.O_RDWR)
    check(b"flush" in os.pread(fd, 4096, 0), "help")
    same(os.write(fd, b"flush\n"), 6, "flush")
    same(t.value("luns", "nv", "dirty_bytes"), "0", "nothing is dirty when write(2) returns")
    check(os.pread(fd, 4096, 0).startswith(b"done"), "the result")
    same(os.write(fd, b"evict"), 5, "evict")
    same(error_of(lambda: os.write(fd, b"burn\n"))[0], errno.EINVAL, "no such verb")
    check(b"'burn'" in os.pread(fd, 4096, 0), "why")
    same(error_of(lambda: os.write(fd, b"flush\nevict\n"))[0], errno.EINVAL, "two verbs")
    same(error_of(lambda: os.write(fd, b"x" * 5000))[0], errno.EMSGSIZE, "a long one")
    os.close(fd)
    subprocess.run(f"echo flush > {t('caches', 'fast', 'control')}", shell=True, check=True)
    s.close()


def case_read_again(d, t):
    """An open file that is read from its beginning again has what holds then."""
    fd = os.open(t("events"), os.O_RDONLY)
    before = os.pread(fd, MIB, 0)
    same(os.pread(fd, 100, len(before)), b"", "the end")
    session(d).close()
    wait_until(lambda: len(os.pread(fd, MIB, 0)) > len(before), "more has happened")
    os.close(fd)


def main():
    tree.requires_fuse()
    atexit.register(tree.cleanup)
    selected = sys.argv[1:]
    # Destaging is slow enough for what is dirty to be seen.
    d = Daemon("--unsafe-fs", config=CONFIG).start()
    t = Tree(d).start()
    for name, case in list(globals().items()):
        if name.startswith("case_") and (not selected or name[5:] in selected):
            began = time.monotonic()
            case(d, t)
            print(f"{name[5:]:30} {time.monotonic() - began:6.2f} s", flush=True)
            check(t.process.poll() is None and d.alive(), "both live")
    t.stop()
    d.stop()


if __name__ == "__main__":
    run(main)
