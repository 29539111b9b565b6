/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A machine of the test's own: files below a folder in /tmp, what is served on it, and what the doctor
 * finds. What isn't files is answered from fields.
 */
#ifndef TESTS_DOCTOR_MACHINE_H
#define TESTS_DOCTOR_MACHINE_H

#include "tools/doctor/doctor.h"

struct machine {
	char root[64];
	struct doctor_facts facts;
	struct doctor_report report;
	uint8_t health[512];
	int health_rc;
	uint64_t free_bytes;
	const char *file_system; /* NULL: what libblkid says */
	struct doctor_probes live;
};

/* For setup and teardown of cmocka. */
int machine_setup(void **state);
int machine_teardown(void **state);

/* A file with this text and a newline; the folders to it are made. */
void machine_put(const struct machine *m, const char *path, const char *text);
void machine_put_bytes(const struct machine *m, const char *path, const void *data, size_t len);
/* A link whose text is `to` below the root, however far up that is. */
void machine_link(const struct machine *m, const char *path, const char *to);
void machine_folder(const struct machine *m, const char *path);
/* A file with a hole. */
void machine_sparse(const struct machine *m, const char *path, uint64_t size);

/* The usual files of a disk in /sys/class/block, and a node in /dev. */
void machine_disk(const struct machine *m, const char *name, bool rotates, const char *write_cache,
    const char *fua);
/* An array of such disks. */
void machine_array(
    const struct machine *m, const char *name, const char *level, const char *const *disks);

void machine_look(struct machine *m);
/* machine_look(), and the check has exactly one finding, with these words in text or action. */
void machine_finds(
    struct machine *m, const char *check, enum doctor_level level, const char *words);
/* One among several. */
void machine_finds_among(
    struct machine *m, const char *check, enum doctor_level level, const char *words);
void machine_is_ok(struct machine *m, const char *check, const char *words);

#endif
