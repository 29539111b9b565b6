# SPDX-License-Identifier: BSD-2-Clause
"""Answers of the control socket as terrace-control(7) describes them, with any names in them."""

# What a name may be, and what else comes where a name is expected.
HOSTILE = ["plain", 'a"b\\c\nd', "<script>alert(1)</script>", "x' onload='y", "]]>&amp;&#0;",
           "\x1b[31mred\x07\x00".replace("\x00", "\x01"), "\u202egnirts", "naïve-名前", "\ufffe\x7f\x9b",
           "</title></svg>", "{}%s%n", "-", " "]


def latency(count):
    return {"count": count, "p50_us": 128.0, "p95_us": 448.0, "p99_us": 1024.0, "p999_us": 20480.0,
            "max_us": 1310720.0}


def window(seconds):
    return {"window_s": seconds, "seconds": seconds + 0.01, "reads_per_s": 1510.5, "writes_per_s": 0.3,
            "read_bytes_per_s": 6187008.0, "write_bytes_per_s": 1228.8, "errors_per_s": 0.0,
            "destage_bytes_per_s": 1048576.0, "ram_hit_ratio": 0.875, "ssd_hit_ratio": None,
            "read_latency": latency(1510)}


def lun(name):
    return {"name": name, "uuid": "aaa07a0c-f480-471b-a5ed-a1467b777aeb", "store": "file:/" + name,
            "size_bytes": 2 << 40, "block_bytes": 512, "mode": "nv", "profile": "vmware", "cache": name,
            "state": "ok", "why": "", "read_only": False, "time": 1795390272, "in_flight": 7,
            "windows": [window(1), window(10), window(60)], "read_latency": latency(99999),
            "counters": {"reads": 99999, "writes": 3, "read_bytes": 409595904, "write_bytes": 12288,
                         "check_conditions": 1, "reservation_conflicts": 2, "aborts": 3,
                         "store_errors": 4},
            "tiers": [{"tier": "ram", "hits": 700, "misses": 300}, {"tier": "ssd", "hits": 9, "misses": 1}],
            "dirty_bytes": 4096, "cached_bytes": 8192, "destaged_bytes": 1 << 30}


def cache(name):
    return {"name": name, "ssd": "block:/" + name, "uuid": "u", "state": "degraded", "why": "",
            "size_bytes": 1 << 40, "segment_bytes": 1 << 26, "cached_bytes": 1 << 38, "dirty_bytes": 1 << 36,
            "segments": 16384, "segments_free": 4, "segments_bad": 1, "luns": 2, "reads": 100,
            "read_hits": 50, "ssd_errors": 1, "bad_blocks": 2, "ram_bytes": 1 << 32,
            "ram_used_bytes": 1 << 31, "ram_hits": 3, "ram_misses": 1, "conditions": [name]}


def session(name, tsih):
    return {"tsih": tsih, "isid": "000000000000", "initiator": name, "target": name, "address": "[::1]:1",
            "group": name, "user": name, "connected_s": 90061, "reads": 1, "writes": 2, "others": 3,
            "read_bytes": 4096, "write_bytes": 8192}


def health(name):
    return {"state": "degraded", "conditions": [
        {"code": "C204", "name": "store-gone", "severity": "degraded", "object": name, "since": 1795390272,
         "sentence": f"the store of {name} stopped answering", "effect": name, "action": name}]}


def overview(names):
    return {"version": "0.1.0", "schema": 1, "host": names[0], "uptime_s": 5, **health(names[0]),
            "all": {}, "luns": [lun(n) for n in names], "caches": [cache(n) for n in names],
            "sessions": [session(n, i) for i, n in enumerate(names)],
            "loops": [{"loop": 0, "backend": "io_uring", "turns": 1, "sleeps": 2, "messages": 3, "ops": 4,
                       "turn_max_ms": 1.5, "nbd_bytes": 5, "nbd_paused_s": 0.25}]}


def slots(count, slot_s):
    columns = {"slot_s": slot_s, "end": 1795390354, "count": count}
    for key in ("reads_per_s", "writes_per_s", "read_bytes_per_s", "write_bytes_per_s", "read_p50_us",
                "read_p99_us", "read_max_us", "write_p50_us", "write_p99_us", "write_max_us",
                "dirty_bytes", "destage_bytes_per_s"):
        columns[key] = [None if i % 7 == 0 else (i * 7919) % 100000 for i in range(count)]
    for key in ("ram_hit_ratio", "ssd_hit_ratio"):
        columns[key] = [None if i % 9 else (i % 100) / 99 for i in range(count)]
    return columns


def history(name, count=600):
    return {"name": name, "seconds": slots(count, 1), "minutes": slots(count * 12 // 5, 60)}


def heatmap(name, parts=1024):
    return {"name": name, "size_bytes": parts << 20, "part_bytes": 1 << 20, "half_life_s": 600,
            "reads": [(i * i) % 977 for i in range(parts)], "writes": [0] * parts,
            "cached": [i / parts for i in range(parts)], "dirty": [1] * parts}
